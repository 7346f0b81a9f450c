"""The time loops on tensor cores for weights that no single block can hold.

As `grid`: each block owns the units of some rows of warps and takes part in every step of every
sequence; what all units are needed for goes through global memory, in two planes a step, between
barriers of the grid. Sequences come in groups of eight, the longest first.

Planes are written in the order in which warps read them, so that a lane's words of a chunk are 16
neighbouring bytes, and each warp takes its part of a vector from the L2 cache to its registers:

    [group][chunk][lane][2 products of 2 words]     see `runtime.ptx` for B of lane 4 n + t

The inner sum is shared by `split` rows of warps; those of the first do the cells, after adding up
what the others left in shared memory, in their order.
"""

from __future__ import annotations

from typing import Any

from ..ops import inlined, meet_block
from ..runtime import ptx as ptx
from ..runtime.kernel import WARP
from .mma import CHUNK, SEQUENCES, Fragments


def vector_size(tiles: tuple[Fragments, ...]) -> int:
    """Words in shared memory besides weights: two turns of the sums of all rows of warps."""
    return 2 * max(_turn_size(t) for t in tiles)


def _turn_size(t: Fragments) -> int:
    return (t.split - 1) * 4 * t.tiles * t.warps * WARP


def group_size(t: Fragments) -> int:
    """Words of a group's plane."""
    return t.split * t.chunks * CHUNK * SEQUENCES


def exchanged_size(tiles: tuple[Fragments, ...], batch: int, both: bool) -> int:
    """Words in global memory that blocks exchange; `both` where each tile has two planes."""
    groups = -(-batch // SEQUENCES)
    planes = (2, 2) if both else (2, 1)
    return groups * sum(p * group_size(t) for p, t in zip(planes, tiles))


def make_place(t: Fragments) -> Any:
    """Device function: where the i-th number of a vector stands in its group's plane."""
    in_word = t.in_word

    @inlined
    def place(i: int, vector: int) -> Any:
        word, half = i // in_word, i % in_word
        chunk, word = word // CHUNK, word % CHUNK
        lane, slot = 4 * vector + word % 4, word // 4
        return ((chunk * WARP + lane) * 4 + slot) * in_word + half

    return place


def make_read(t: Fragments) -> Any:
    """Device function: a lane's words of a chunk, from L2."""
    items = WARP * 4 * t.in_word

    @inlined
    def read(exchanged: Any, at: int, chunk: int) -> Any:
        return ptx.load_global_4_words(ptx.global_address(exchanged, at + chunk * items))

    return read


def make_total(t: Fragments) -> Any:
    """Device function: sums of the rows of warps, for the first row; all threads meet in it."""
    row_threads, split, many = t.warps * WARP, t.split, 4 * t.tiles
    turn_size = _turn_size(t)

    @inlined
    def total(sums: Any, shared: Any, turn: int, tid: int) -> None:
        part, local = tid // row_threads, tid % row_threads
        start = turn * turn_size + local
        if part > 0:
            for i in range(many):
                shared[start + ((part - 1) * many + i) * row_threads] = sums[i]
        meet_block()
        if part == 0:
            for other in range(split - 1):
                for i in range(many):
                    sums[i] += shared[start + (other * many + i) * row_threads]

    return total
