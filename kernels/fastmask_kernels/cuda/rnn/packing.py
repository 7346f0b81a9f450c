"""Weights in the order in which the time loops and the projection read them.

    packed = kernel (F, inputs * H), bias (saved * H), then the tiles of the recurrent kernel

with the gates of kernel and bias in the order in which they are saved, and every part on a
boundary of 16 bytes.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ...cells import gru, gru_reset_before
from ..runtime.device import DeviceArray
from ..runtime.kernel import Kernel, family, int64, kernel, number, pointer, span
from .emit import Kind
from .layout import layout
from .mma_layout import Spread as Fragmented
from .mma_layout import pack_fragments
from .resident import Spread, Tile


@family("f4", "f8")
def _copier(dtype: Any) -> Kernel:
    reals = pointer(number(dtype))

    @kernel(reals, int64, int64, reals, int64, int64, int64, int64, int64)
    def run(
        out: Any,
        start: int,
        stride: int,
        source: Any,
        source_start: int,
        source_stride: int,
        rows: int,
        width: int,
        add: bool,
    ) -> None:
        i = cuda.grid(1)
        while i < rows * width:
            row, column = i // width, i % width
            value = source[source_start + row * source_stride + column]
            at = start + row * stride + column
            if add:
                value += out[at]
            out[at] = value
            i += cuda.gridsize(1)

    return run


def pack(
    packed: DeviceArray,
    kind: Kind,
    kernel: DeviceArray,
    recurrent_kernel: DeviceArray,
    bias: DeviceArray,
) -> None:
    """Write the packed weights of a layer.

    Args:
        packed: (packed_size,)
        kind: of the cell.
        kernel: (F, inputs * H)
        recurrent_kernel: (H, gates * H)
        bias: (gates * H,), or of a GRU (2, 3H)
    """
    features, units = kernel.shape[0], recurrent_kernel.shape[0]
    parts = layout(kind, features, units, packed.dtype)
    parts.require(packed)
    copy = _copier(packed.dtype)
    columns = kernel.shape[1]

    def move(start: int, source: DeviceArray, begin: int, rows: int, width: int, add: int) -> None:
        copy.launch(
            *span(rows * width),
            *(packed, start, columns, source, begin, columns, rows, width, add),
        )

    if kind.cell not in (gru, gru_reset_before):
        move(0, kernel, 0, features, columns, 0)
        move(parts.bias, bias, 0, 1, columns, 0)
    else:  # z, r, h of the weights become n, z, r
        move(0, kernel, 2 * units, features, units, 0)
        move(units, kernel, 0, features, 2 * units, 0)
        move(parts.bias, bias, 2 * units, 1, units, 0)
        move(parts.bias + units, bias, 0, 1, 2 * units, 0)
        move(parts.bias + units, bias, 3 * units, 1, 2 * units, 1)
        last = parts.bias if kind.cell == gru_reset_before else parts.bias + 3 * units
        move(last, bias, 5 * units, 1, units, int(kind.cell == gru_reset_before))
    first, pieces = 0, []
    for t in parts.spread.tiles:
        pieces.append((first * units, t.columns))
        first += t.columns
    pack_spread(packed, parts.recurrent, parts.spread, recurrent_kernel, pieces, False)


def pack_spread(
    packed: DeviceArray,
    start: int,
    spread: Spread | Fragmented,
    matrix: DeviceArray,
    pieces: list[tuple[int, int]],
    transposed: bool,
) -> None:
    """Write the tiles of a recurrent kernel to packed[start:].

    Args:
        packed: (W,).
        start: where to begin.
        spread: the tiles.
        matrix: (H, G * H).
        pieces: first column of the matrix and number of gates, of each tile.
        transposed: the inner sum goes along the columns of the matrix.
    """
    if isinstance(spread, Fragmented):
        for fragments, (first, _) in zip(spread.tiles, pieces, strict=True):
            start = pack_fragments(packed, start, fragments, matrix, first, transposed)
        return
    for t, (first, gates) in zip(spread.tiles, pieces, strict=True):
        start = pack_tile(packed, start, t, matrix, first, gates, max(spread.blocks, 1))


@family("f4", "f8")
def _tile_packer(dtype: Any) -> Any:
    real, zero = number(dtype), dtype.type(0)

    @kernel(pointer(real), int64, pointer(real), *(int64,) * 10)
    def pack(
        packed: Any,
        start: int,
        matrix: Any,
        units: int,
        stride: int,
        first: int,
        gates: int,
        columns: int,
        lanes: int,
        block_units: int,
        split: int,
        chunks: int,
        blocks: int,
    ) -> None:
        row_threads = block_units * 4
        threads = row_threads * split
        size = chunks * columns * threads * 4
        i = cuda.grid(1)
        while i < size * blocks:
            block, rest = i // size, i % size
            e = rest % 4
            tid = rest // 4 % threads
            column = rest // (4 * threads) % columns
            chunk = rest // (4 * threads * columns)
            local, part = tid % row_threads, tid // row_threads
            inner = ((chunk * split + part) * lanes + local % lanes) * 4 + e
            value = zero
            if lanes == 4:  # rows are inner, a unit's columns are its gates
                unit = block * block_units + local // 4
                if inner < units and unit < units:
                    value = matrix[inner * stride + first + column * units + unit]
            else:  # rows are units, inner goes along the gates
                unit = block * block_units + local // 16 * 4 + column
                if inner < gates * units and unit < units:
                    value = matrix[unit * stride + first + inner]
            packed[start + i] = value
            i += cuda.gridsize(1)

    return pack


def pack_tile(
    packed: Any,
    start: int,
    t: Tile,
    matrix: Any,
    first: int,
    gates: int,
    blocks: int = 1,
) -> int:
    """Write the weights of a tile, for each block its own, to packed[start:].

    Args:
        packed: (W,).
        start: where to begin.
        t: the tile.
        matrix: (H, G * H) recurrent kernel.
        first: the first column of the matrix that counts.
        gates: number of gates from there on.
        blocks: with so many times `t.units` units in all.

    Returns:
        the end of what was written.
    """
    size = t.size * blocks
    units, stride = matrix.shape
    _tile_packer(packed.dtype).launch(
        *span(size),
        *(packed, start, matrix, units, stride, first, gates),
        *(t.columns, t.lanes, t.units, t.split, t.chunks, blocks),
    )
    return start + size
