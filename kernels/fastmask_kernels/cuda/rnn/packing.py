"""Weights in the order in which the time loops and the projection read them.

    packed = kernel (F, inputs * H), bias (sums * H), vectors (H each), then the tiles of the
             recurrent kernel

The sums of kernel and bias are in the order of z (`cells.Cell.order`); the tiles start at a
multiple of 16 numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import cuda

from ..runtime.device import DeviceArray, empty
from ..runtime.kernel import Kernel, family, int64, kernel, number, pointer, span
from .columns import rounds, runs
from .emit import Kind
from .layout import layout
from .mma import Fragments
from .mma_layout import pack_fragments
from .places import Spread
from .resident import Tile


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


def copy_block(
    out: DeviceArray,
    start: int,
    source: DeviceArray,
    begin: int,
    width: int,
    rows: int = 1,
    stride: int = 0,
    add: bool = False,
) -> None:
    """Copy `width` numbers of each row: out[start :] = source[begin :], or += with `add`.

    Args:
        out: of any shape.
        start: index of its first number.
        source: of any shape.
        begin: index of its first number.
        width: numbers of a row.
        rows: number of rows.
        stride: from a row to the next, in both.
        add: add to what is there.
    """
    _copier(out.dtype).launch(
        *span(rows * width), *(out, start, stride, source, begin, stride, rows, width, add)
    )


def pack_weights(
    kind: Kind,
    packed: DeviceArray,
    kernel: DeviceArray,
    recurrent_kernel: DeviceArray,
    bias: DeviceArray,
    *vectors: DeviceArray,
) -> None:
    """Write the packed weights of a layer.

    Args:
        kind: the cell and its activations.
        packed: (packed_size,)
        kernel: (F, inputs * H)
        recurrent_kernel: (H, gates * H)
        bias: (sums * H,)
        vectors: (H,) each.
    """
    cell, (features, columns), units = kind.cell, kernel.shape, recurrent_kernel.shape[0]
    parts = layout(kind, features, units, packed.dtype)
    parts.require(packed)
    for to, at, count in runs(cell.order[: len(cell.inputs)], cell.inputs):
        copy_block(packed, to * units, kernel, at * units, count * units, features, columns)
    for to, at, count in runs(cell.order, cell.sums):
        copy_block(packed, parts.bias + to * units, bias, at * units, count * units)
    for n, vector in enumerate(vectors, len(cell.sums)):
        copy_block(packed, parts.bias + n * units, vector, 0, units)
    wanted = [name for names in rounds(cell) for name in names]
    matrix = in_order(recurrent_kernel, cell.recurrents, wanted)
    first, pieces = 0, []
    for names in rounds(cell):
        pieces.append((first * units, len(names)))
        first += len(names)
    pack_spread(packed, parts.recurrent, parts.spread, matrix, pieces, False)


def in_order(matrix: DeviceArray, names: Sequence[str], wanted: Sequence[str]) -> DeviceArray:
    """A recurrent kernel with sums `names`, reordered as `wanted`; a copy unless they agree."""
    if list(names) == list(wanted):
        return matrix
    units, columns = matrix.shape
    copy = empty(matrix.shape, matrix.dtype, matrix.device)
    for to, at, count in runs(wanted, names):
        copy_block(copy, to * units, matrix, at * units, count * units, units, columns)
    return copy


def pack_spread(
    packed: DeviceArray,
    start: int,
    spread: Spread,
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
        pieces: first column of the matrix and number of gates, for each tile.
        transposed: the inner sum runs along the columns of the matrix.
    """
    for t, (first, gates) in zip(spread.tiles, pieces, strict=True):
        if isinstance(t, Fragments):
            pack_fragments(packed, start, t, matrix, first, transposed)
        else:
            pack_tile(packed, start, t, matrix, first, gates)
        start += t.size


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


def pack_tile(packed: Any, start: int, t: Tile, matrix: Any, first: int, gates: int) -> None:
    """Write the weights of a tile, block by block, to packed[start:].

    Args:
        packed: (W,).
        start: where to begin.
        t: the tile.
        matrix: (H, G * H) recurrent kernel.
        first: first column of the matrix to pack.
        gates: number of gates from there on.
    """
    units, stride = matrix.shape
    _tile_packer(packed.dtype).launch(
        *span(t.size),
        *(packed, start, matrix, units, stride, first, gates),
        *(t.columns, t.lanes, t.units, t.split, t.chunks, max(t.blocks, 1)),
    )
