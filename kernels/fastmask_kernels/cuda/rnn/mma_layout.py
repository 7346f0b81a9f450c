"""How the recurrent kernel of a layer is cut for tensor cores (see `mma`), and its packing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from ..runtime import driver as _driver
from ..runtime import ptx as ptx
from ..runtime.device import DeviceArray
from ..runtime.kernel import (
    MOST_THREADS,
    Kernel,
    family,
    float32,
    int64,
    kernel,
    pointer,
    span,
    uint32,
)
from . import mma_grid
from .backward import planes_size as backward_planes
from .backward_cells import blocks_of_products
from .columns import require_kernels, rounds
from .emit import Kind
from .forward import planes_size as forward_planes
from .mma import Fragments
from .resident import registers_of, shared_bytes

OWN_REGISTERS = 56  # what a thread can do with besides weights, with two cells
CELL_REGISTERS = 8  # more of them for each more cell
MOST_SPLIT = 8  # rows of warps of a block that shares a layer


class Spread(NamedTuple):
    """How a recurrent kernel is spread over warps and blocks."""

    tiles: tuple[Fragments, ...]  # one for each round of products
    blocks: int  # that share the layer; 0 where each block has all of it

    @property
    def size(self) -> int:
        """Words of all tiles."""
        return sum(t.size for t in self.tiles)

    @property
    def shared_size(self) -> int:
        """Words in shared memory, of one block, besides vectors."""
        return sum(t.shared_size for t in self.tiles)


def settle(tiles: tuple[Fragments, ...], vectors: int) -> tuple[Fragments, ...]:
    """The same tiles with their chunks in the best places; `vectors` words are taken already."""
    first = tiles[0]
    registers = registers_of(first.threads) - OWN_REGISTERS
    registers -= CELL_REGISTERS * (first.cells - 2)
    shared = shared_bytes() // 4 - vectors
    settled = []
    for t in tiles:
        held = min(t.chunks, max(registers, 0) // max(t.chunk_size, 1))
        kept = min(t.chunks - held, max(shared, 0) // max(t.chunk_size * t.threads, 1))
        registers -= held * t.chunk_size
        shared -= kept * t.chunk_size * t.threads
        settled.append(t._replace(in_registers=held, in_shared=kept))
    return tuple(settled)


def spread_of(kind: Kind, units: int, in_word: int, backward: bool) -> Spread:
    """One block for everything if it can hold all weights, else as many as run at once.

    Args:
        kind: of the cell.
        units: H.
        in_word: numbers in 32 bits, see `weights`.
        backward: the transposed recurrent kernel is wanted.

    Raises:
        ValueError: the device has no room for so many units.
    """
    require_kernels(kind.cell, tensor_cores=True)
    if backward:
        products = tuple((1, count * units) for _, count in blocks_of_products(kind.cell))
    else:
        products = tuple((len(names), units) for names in rounds(kind.cell))
    return alone(products, units, in_word, backward) or together(products, units, in_word, backward)


def alone(
    rounds: tuple[tuple[int, int], ...], units: int, in_word: int, backward: bool
) -> Spread | None:
    """All weights in one block, if they fit: with few units a warp if all are in registers.

    Args:
        rounds: columns and length of the inner sum of each product.
        units: H.
        in_word: numbers in 32 bits.
        backward: which of the two loops.
    """
    even = all(columns % 2 == 0 for columns, _ in rounds)  # else bands of zeros
    vectors = backward_planes if backward else forward_planes
    for own in (1, 2) if even else (2,):
        warps = -(-units // (8 * own))
        tiles = tuple(Fragments(in_word, units, i, c, own, warps, 1, 0, 0) for c, i in rounds)
        if tiles[0].threads <= MOST_THREADS:
            tiles = settle(tiles, vectors(tiles))
            roomy = own == 2 or not any(t.in_shared for t in tiles)
            if roomy and all(t.resident for t in tiles):
                return Spread(tiles, 0)
    return None


def together(
    rounds: tuple[tuple[int, int], ...], units: int, in_word: int, backward: bool
) -> Spread:
    """Weights of 8 units in each row of warps of a grid's blocks.

    The packed weights do not depend on the device: how many warps stand side by side is nothing
    to them.
    """
    count = _driver.limits().multiprocessors
    warps = -(-units // (8 * count))
    tiles = tuple(Fragments(in_word, units, i, c, 1, warps, MOST_SPLIT, 0, 0) for c, i in rounds)
    if tiles[0].threads <= MOST_THREADS:
        tiles = settle(tiles, mma_grid.vector_size(tiles))
        if all(t.resident for t in tiles):
            return Spread(tiles, -(-tiles[0].teams // warps))
    raise ValueError(
        f"{count} multiprocessors cannot hold {units} units "
        f"with weights of {32 // in_word} bits: use float32"
    )


@family(1, 2)
def _packer(in_word: int) -> Kernel:
    zero = np.float32(0)

    @kernel(pointer(uint32), int64, pointer(float32), *(int64,) * 10)
    def pack(
        packed: Any,
        start: int,
        matrix: Any,
        units: int,
        stride: int,
        first: int,
        inner: int,
        transposed: bool,
        columns: int,
        own: int,
        tiles: int,
        chunks: int,
        size: int,
    ) -> None:
        i = cuda.grid(1)
        while i < size:
            e, lane, rest = i % 4, i // 4 % 32, i // 128
            m, rest = rest % tiles, rest // tiles
            half, rest = rest % 2, rest // 2
            chunk, team = rest % chunks, rest // chunks
            band = 2 * m + e % 2
            u, column = band // columns, band % columns
            unit = (team * own + u) * 8 + lane // 4
            k = ((chunk * 2 + half) * 8 + lane % 4 + e // 2 * 4) * in_word
            low, high = zero, zero
            if u < own and unit < units:
                if transposed:
                    at, step = unit * stride + first + k, 1
                else:
                    at, step = k * stride + first + column * units + unit, stride
                if k < inner:
                    low = matrix[at]
                if k + 1 < inner and in_word == 2:
                    high = matrix[at + step]
            if in_word == 2:
                packed[start + i] = ptx.pack_bf16(low, high)
            else:
                packed[start + i] = ptx.to_tf32(low)
            i += cuda.gridsize(1)

    return pack


def pack_fragments(
    packed: DeviceArray, start: int, t: Fragments, matrix: DeviceArray, first: int, transposed: bool
) -> int:
    """Write the weights of a tile, of the whole layer, to packed[start:].

    Args:
        packed: (W,) of float32, which words of two bf16 take the place of.
        start: where to begin.
        t: the tile.
        matrix: (H, G * H) recurrent kernel.
        first: the first column of the matrix that counts.
        transposed: the inner sum goes along the columns of the matrix.

    Returns:
        the end of what was written.
    """
    units, stride = matrix.shape
    _packer(t.in_word).launch(
        *span(t.size),
        *(packed, start, matrix, units, stride, first, t.inner, transposed),
        *(t.columns, t.own, t.tiles, t.split * t.chunks, t.size),
    )
    return start + t.size
