"""Where the matrix of a product is kept, for both ways to multiply, and which thread has what.

A block, or the blocks of a grid that share a layer, own units; the threads of a block form `split`
rows, which share the inner sum. A thread's weights come in chunks: the first ones are in its
registers, the next ones in shared memory. "Numbers" are words of 32 bits on tensor cores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from ..runtime import driver as _driver

REGISTERS = 65536  # of a multiprocessor, 4 bytes each
MOST_REGISTERS = 255  # of a thread
MOST_SPLIT = 8  # rows of threads in a block that shares a layer
OWN_SHARED = 1024  # bytes of shared memory that loops use besides what is counted here


def shared_bytes() -> int:
    """Bytes of shared memory for weights and vectors, in a block of the current device."""
    return _driver.limits().shared - OWN_SHARED


def registers_of(threads: int) -> int:
    """Registers per thread; devices allocate them for four warps and eight registers at a time."""
    return min(MOST_REGISTERS, REGISTERS // (-(-threads // 128) * 128) // 8 * 8)


@dataclass(frozen=True, kw_only=True)
class Places:
    """How a matrix, and the vectors that it is multiplied with, are laid out in a block."""

    blocks: int  # that share the layer; 0 where each block has all of it
    split: int  # rows of threads
    row_threads: int
    chunks: int  # of a thread
    chunk: int  # numbers of a thread's chunk
    sequences: int  # of a group
    slice: int  # numbers of a group's vectors that a row of threads multiplies with
    finals: int  # sums of a thread after the product
    size: int  # weights of the layer
    groups: int = 1  # of sequences that blocks run at once: a row of threads has the cells of one
    staged: bool = True  # a grid's vectors pass through shared memory, else straight to registers
    in_registers: int = 0  # chunks
    in_shared: int = 0

    @property
    def plane(self) -> int:
        """Numbers of a group's vectors, padded to whole chunks."""
        return self.split * self.slice

    @property
    def threads(self) -> int:
        """Threads of the block."""
        return self.split * self.row_threads

    @property
    def held(self) -> int:
        """Weights in a thread's registers."""
        return self.in_registers * self.chunk

    @property
    def shared_size(self) -> int:
        """Weights in shared memory."""
        return self.in_shared * self.chunk * self.threads

    @property
    def resident(self) -> bool:
        """Whether all chunks fit in the block."""
        return self.in_registers + self.in_shared == self.chunks


P = TypeVar("P", bound=Places)
Tiles = tuple[Places, ...]  # of one block, one for each product


def planes_size(tiles: Tiles) -> int:
    """Numbers in the shared memory of a block besides weights.

    A single block has two planes for each product. In a grid there is room for the vectors of two
    groups, as one is read while the next is copied, and for each row's sums of every group.
    """
    if not tiles[0].blocks:
        return sum(2 * t.plane for t in tiles)
    return sums_start(tiles) + max(t.groups * t.finals * t.threads for t in tiles)


def sums_start(tiles: Tiles) -> int:
    """Numbers reserved for the vectors of a grid; the sums follow them."""
    return min(2, tiles[0].groups) * max(t.plane for t in tiles) if tiles[0].staged else 0


def exchanged_size(tiles: Tiles) -> int:
    """Numbers in global memory that blocks of a grid exchange: two planes of each product."""
    return sum(2 * t.groups * t.plane for t in tiles)


def settle(tiles: tuple[P, ...], registers: int, itemsize: int) -> tuple[P, ...]:
    """The same tiles with their chunks assigned to registers, then to shared memory.

    Args:
        tiles: all of one block.
        registers: weights that fit in a thread's registers.
        itemsize: bytes of a number.
    """
    shared, settled = shared_bytes() // itemsize - planes_size(tiles), []
    for t in tiles:
        held = min(t.chunks, max(registers, 0) // max(t.chunk, 1))
        kept = min(t.chunks - held, max(shared, 0) // max(t.chunk * t.threads, 1))
        settled.append(replace(t, in_registers=held, in_shared=kept))
        registers, shared = registers - settled[-1].held, shared - settled[-1].shared_size
    return tuple(settled)


def settle_together(
    tiles: tuple[P, ...], registers: int, itemsize: int, needs_stage: bool
) -> tuple[P, ...]:
    """The same for blocks that share a layer, with as many groups at once as there is room for.

    The groups leave room for all weights or, failing that, at least half of shared memory to them.
    """
    room, groups, options = shared_bytes() // itemsize, tiles[0].split, []
    while groups or not needs_stage:
        given = (replace(t, groups=max(groups, 1), staged=groups > 0) for t in tiles)
        some = settle(tuple(given), registers, itemsize)
        if all(t.resident for t in some) and planes_size(some) <= room:
            return some
        options.append(some)
        needs_stage, groups = needs_stage or not groups, groups // 2
    return next((some for some in options if 2 * planes_size(some) <= room), options[-1])


class Spread(NamedTuple):
    """How a recurrent kernel is spread over blocks: the tiles of one block, one per product."""

    tiles: tuple[Any, ...]

    @property
    def blocks(self) -> int:
        """How many share the layer; 0 where each block has all of it."""
        return int(self.tiles[0].blocks)

    @property
    def size(self) -> int:
        """Weights of the layer."""
        return sum(t.size for t in self.tiles)

    @property
    def shared_size(self) -> int:
        """Numbers in the shared memory of a block."""
        return planes_size(self.tiles) + sum(int(t.shared_size) for t in self.tiles)
