"""A matrix that a block keeps close while it multiplies many vectors with it, four at a time.

    sums[column, n] = sum over i of matrix[i, column] * vector[n, i]        n = 0..3

Threads. Neighbours of a team of `lanes` threads share the inner sum of the same `columns`
columns: thread `lane` of a team takes every `lanes`-th chunk of four. `split` rows of teams share
it once more. A tuple of 16 bytes of a vector then serves 4 * columns multiply-adds, so that
shared memory keeps pace with arithmetic.

    forward    team of 4, columns = the gates of one unit
    backward   team of 16, columns = 4 units

Either way thread t ends with the sums of unit t // 4 and of vector t % 4, after an exchange in
which each thread sends half of what it has and keeps the other half.

Places. The chunks of a thread's own weights stand in its registers, then in shared memory, then
in global memory (which the L2 cache serves), as far as each reaches; all in the order

    [chunk][column][thread][4]

in which neighbouring threads read neighbouring 16 bytes. Rows and columns that fill up chunks
and teams have zero weights; vectors must be finite there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..runtime import driver as _driver

CHUNK = 4  # numbers read at once
VECTORS = 4  # sequences of a group
REGISTERS = 65536  # of a multiprocessor, 4 bytes each
MOST_REGISTERS = 255  # of a thread
OWN_REGISTERS = 64  # what a thread can do with besides weights, in float32
MOST_SPLIT = 8  # rows of teams of a block that shares a layer
OWN_SHARED = 1024  # bytes of a block that loops have besides what is counted here


def shared_bytes() -> int:
    """Of a block of the current device, for weights and vectors."""
    return _driver.limits().shared - OWN_SHARED


def registers_of(threads: int) -> int:
    """How many a thread of a block may have: four warps at a time, eight registers at a time."""
    return min(MOST_REGISTERS, REGISTERS // (-(-threads // 128) * 128) // 8 * 8)


class Tile(NamedTuple):
    """How a matrix lies in a block."""

    columns: int  # of a thread
    lanes: int  # threads of a team, 4 or 16
    units: int  # of the block, a multiple of 8
    split: int  # rows of teams
    chunks: int  # of a thread
    in_registers: int
    in_shared: int

    @property
    def threads(self) -> int:
        """Threads of the block."""
        return self.split * self.units * VECTORS

    @property
    def inner(self) -> int:
        """Numbers of a vector, with what fills up its last chunks."""
        return self.chunks * self.split * self.lanes * CHUNK

    @property
    def chunk_size(self) -> int:
        """Weights of one chunk of all threads."""
        return self.columns * self.threads * CHUNK

    @property
    def size(self) -> int:
        """Weights of the block."""
        return self.chunks * self.chunk_size

    @property
    def shared_size(self) -> int:
        """Weights in shared memory."""
        return self.in_shared * self.chunk_size

    @property
    def held(self) -> int:
        """Weights in a thread's registers."""
        return self.in_registers * self.columns * CHUNK

    @property
    def resident(self) -> bool:
        """Whether no weights are left in global memory."""
        return self.in_registers + self.in_shared == self.chunks


def tile(columns: int, lanes: int, inner: int, units: int, split: int = 1) -> Tile:
    """A tile with nothing in registers or shared memory yet."""
    chunks = -(-inner // (split * lanes * CHUNK))
    return Tile(columns, lanes, -(-units // 8) * 8, split, chunks, 0, 0)


def settle(
    tiles: tuple[Tile, ...], itemsize: int, vectors: int, numbers: int = 0
) -> tuple[Tile, ...]:
    """The same tiles with their chunks in the best places.

    Args:
        tiles: all of one block.
        itemsize: of a weight.
        vectors: numbers in shared memory besides weights.
        numbers: what a thread needs besides, see `columns.more_numbers`.
    """
    words = itemsize // 4
    # Wider numbers, and a second round, take registers of their own.
    registers = (
        registers_of(tiles[0].threads) - OWN_REGISTERS - (words - 1) * 32 - (len(tiles) - 1) * 16
    )
    registers -= numbers * words
    shared = shared_bytes() // itemsize - vectors
    settled = []
    for t in tiles:
        held = min(t.chunks, max(registers, 0) // max(t.columns * CHUNK * words, 1))
        kept = min(t.chunks - held, max(shared, 0) // max(t.chunk_size, 1))
        registers -= held * t.columns * CHUNK * words
        shared -= kept * t.chunk_size
        settled.append(t._replace(in_registers=held, in_shared=kept))
    return tuple(settled)


class Spread(NamedTuple):
    """How a recurrent kernel is spread over blocks."""

    tiles: tuple[Tile, ...]  # of one block
    blocks: int  # that share the layer; 0 where each block has all of it

    @property
    def size(self) -> int:
        """Weights of all tiles."""
        return sum(t.size for t in self.tiles) * max(self.blocks, 1)

    @property
    def shared_size(self) -> int:
        """Weights in shared memory, of one block."""
        return sum(t.shared_size for t in self.tiles)


def spread_over(
    columns: tuple[int, ...],
    lanes: int,
    inner: tuple[int, ...],
    units: int,
    itemsize: int,
    vectors_alone: Callable[[tuple[Tile, ...]], int],
    vectors_of_grid: Callable[[tuple[Tile, ...]], int],
    numbers: int = 0,
) -> Spread:
    """One block for everything if it can hold all weights, else as many as run at once.

    Args:
        columns: of each tile.
        lanes: of a team.
        inner: length of the inner sum of each tile.
        units: H.
        itemsize: of a weight.
        vectors_alone: numbers in shared memory besides weights, in one block.
        vectors_of_grid: the same in a grid.
        numbers: see `settle`.

    Raises:
        ValueError: there are more units than even a grid has threads for.
    """
    tiles = tuple(tile(c, lanes, i, units) for c, i in zip(columns, inner))
    if tiles[0].threads <= 1024:
        tiles = settle(tiles, itemsize, vectors_alone(tiles), numbers)
        if all(t.resident for t in tiles):
            return Spread(tiles, 0)
    count = _driver.limits().multiprocessors
    own = -(-units // (8 * count)) * 8
    if own * VECTORS > 1024:
        most = count * 1024 // VECTORS
        raise ValueError(f"{count} multiprocessors take at most {most} units, not {units}")
    split = max(1, min(MOST_SPLIT, 1024 // (own * VECTORS)))
    tiles = tuple(tile(c, lanes, i, own, split) for c, i in zip(columns, inner))
    vectors = vectors_of_grid(tiles)
    if vectors * itemsize > shared_bytes():
        raise ValueError(
            f"cuda kernels have no room in shared memory for {units} units of {itemsize} bytes"
        )
    return Spread(settle(tiles, itemsize, vectors, numbers), -(-units // own))
