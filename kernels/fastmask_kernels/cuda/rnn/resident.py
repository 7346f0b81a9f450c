"""A matrix that a block keeps close while it multiplies many vectors with it, four at a time.

    sums[column, n] = sum over i of matrix[i, column] * vector[n, i]        n = 0..3

Threads. The `lanes` threads of a team share the inner sum of the same `columns` columns: thread
`lane` of a team takes every `lanes`-th chunk of four. `split` rows of teams divide it further. A
16-byte load from a vector then serves 4 * columns multiply-adds, so that shared memory keeps pace
with arithmetic.

    forward    team of 4, columns = the gates of one unit
    backward   team of 16, columns = 4 units

Either way thread t ends with the sums of unit t // 4 and of vector t % 4, after an exchange in
which each thread sends half of what it has and keeps the other half.

Places. A thread's own weights fill its registers, then shared memory; the rest stays in global
memory (served by the L2 cache). All are in the order

    [chunk][column][thread][4]

so that neighboring threads read neighboring 16 bytes. Rows and columns that pad chunks and teams
have zero weights; vectors must be finite there.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime import driver as _driver
from . import places
from .places import Places, Spread, planes_size, registers_of, settle, settle_together

CHUNK = 4  # numbers read at once
VECTORS = 4  # sequences of a group
OWN_REGISTERS = 64  # a thread's registers that are not for weights, in float32


@dataclass(frozen=True)
class Tile(Places):
    """How a matrix is laid out in a block."""

    columns: int  # of a thread
    lanes: int  # threads of a team, 4 or 16
    units: int  # of the block, a multiple of 8


def tile(
    columns: int, lanes: int, units: int, length: int, split: int = 1, blocks: int = 0
) -> Tile:
    """A tile with nothing in registers or shared memory yet, for inner sums of `length` numbers."""
    chunks, chunk = -(-length // (split * lanes * CHUNK)), columns * CHUNK
    row_threads, finals = units * VECTORS, columns if lanes == 4 else 1
    return Tile(
        *(columns, lanes, units),
        blocks=blocks,
        split=split,
        row_threads=row_threads,
        chunks=chunks,
        chunk=chunk,
        sequences=VECTORS,
        slice=chunks * VECTORS * lanes * CHUNK,
        finals=finals if finals < 3 else -(-finals // 4) * 4,  # from 3 on, a multiple of 4
        size=max(blocks, 1) * chunks * chunk * split * row_threads,
    )


def spread_over(
    products: tuple[tuple[int, int], ...], lanes: int, units: int, itemsize: int, numbers: int
) -> Spread:
    """One block if it can hold all weights, else as many as run at once.

    Args:
        products: number of columns and length of the inner sum, for each product.
        lanes: threads of a team.
        units: H.
        itemsize: bytes of a weight.
        numbers: further numbers that a thread needs, see `columns.more_numbers`.

    Raises:
        ValueError: there are more units than even a grid has threads for.
    """
    words = itemsize // 4

    def tiles_of(own: int, split: int = 1, blocks: int = 0) -> tuple[tuple[Tile, ...], int]:
        """The tiles, and how many weights a thread's registers can hold."""
        tiles = tuple(tile(c, lanes, own, n, split, blocks) for c, n in products)
        needed = OWN_REGISTERS + (words - 1) * 32 + (len(tiles) - 1) * 16 + numbers * words
        return tiles, (registers_of(tiles[0].threads) - needed) // words

    alone, registers = tiles_of(-(-units // 8) * 8)
    if alone[0].threads <= 1024:
        alone = settle(alone, registers, itemsize)
        if all(t.resident for t in alone):
            return Spread(alone)
    count = _driver.limits().multiprocessors
    own = -(-units // (8 * count)) * 8
    if own * VECTORS > 1024:
        most = count * 1024 // VECTORS
        raise ValueError(f"{count} multiprocessors take at most {most} units, not {units}")
    split = max(1, min(places.MOST_SPLIT, 1024 // (own * VECTORS)))
    tiles = settle_together(*tiles_of(own, split, -(-units // own)), itemsize, True)
    if planes_size(tiles) * itemsize > places.shared_bytes():
        raise ValueError(
            f"cuda kernels have no room in shared memory for {units} units of {itemsize} bytes"
        )
    return Spread(tiles)
