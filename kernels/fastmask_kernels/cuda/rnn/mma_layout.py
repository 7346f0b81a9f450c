"""How a recurrent kernel is tiled and packed for tensor cores (see `mma`)."""

from __future__ import annotations

from typing import Any

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
from . import places
from .mma import Fragments, fragments
from .places import Spread, registers_of, settle, settle_together

OWN_REGISTERS = 56  # a thread's registers that are not for weights, with two cells
CELL_REGISTERS = 8  # as many more for each further cell


def _registers(tiles: tuple[Fragments, ...]) -> int:
    """A thread's registers for weights."""
    own = OWN_REGISTERS + CELL_REGISTERS * 2 * (tiles[0].own - 1)
    return registers_of(tiles[0].threads) - own


def alone(products: tuple[tuple[int, int], ...], units: int, in_word: int) -> Spread | None:
    """All weights in one block, if they fit; 8 units per warp if registers hold all, else 16.

    Args:
        products: number of columns and length of the inner sum, for each product.
        units: H.
        in_word: numbers in 32 bits.
    """
    even = all(columns % 2 == 0 for columns, _ in products)  # else bands of zeros
    for own in (1, 2) if even else (2,):
        warps = -(-units // (8 * own))
        tiles = tuple(fragments(in_word, units, i, c, own, warps) for c, i in products)
        if tiles[0].threads <= MOST_THREADS:
            tiles = settle(tiles, _registers(tiles), 4)
            roomy = own == 2 or not any(t.in_shared for t in tiles)
            if roomy and all(t.resident for t in tiles):
                return Spread(tiles)
    return None


def together(products: tuple[tuple[int, int], ...], units: int, in_word: int) -> Spread:
    """All weights in a grid: 8 units per warp, and rows of warps that share the inner sum.

    The packed weights do not depend on the device: the number of warps side by side does not
    matter to them. Raises ValueError if the device has no room for so many units.
    """
    count = _driver.limits().multiprocessors
    warps = -(-units // (8 * count))
    shape = 1, warps, places.MOST_SPLIT, -(-units // (8 * warps))
    tiles = tuple(fragments(in_word, units, i, c, *shape) for c, i in products)
    if tiles[0].threads <= MOST_THREADS:
        tiles = settle_together(tiles, _registers(tiles), 4, False)
        if all(t.resident for t in tiles):
            return Spread(tiles)
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
) -> None:
    """Write the weights of a tile, for the whole layer, to packed[start:].

    Args:
        packed: (W,) of float32; a word of two bf16 takes the place of one.
        start: where to begin.
        t: the tile.
        matrix: (H, G * H) recurrent kernel.
        first: first column of the matrix to pack.
        transposed: the inner sum runs along the columns of the matrix.
    """
    units, stride = matrix.shape
    _packer(t.in_word).launch(
        *span(t.size),
        *(packed, start, matrix, units, stride, first, t.inner, transposed),
        *(t.columns, t.own, t.tiles, t.split * t.chunks, t.size),
    )
