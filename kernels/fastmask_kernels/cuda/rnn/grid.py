"""The time loops for weights that no single block can hold: all blocks of a grid share a layer.

Each block owns some units, with their columns of the recurrent kernel (their rows of it, on the
way back) close by, and takes part in every step of every sequence. What all units are needed for
goes through global memory, in two planes a step: h, r * h of the GRU without `reset_after`, and
backward the gradients of the gates. Between writing and reading stands a barrier of the grid:

    each block   writes; all its threads meet; one adds 1 to a counter, releasing what was written
                 that one waits until all blocks have, acquiring; all its threads meet; reads

The counter only grows, so nobody has to set it back. Blocks wait for each other, hence the launch
is cooperative. The inner sum is shared by `split` rows of teams besides (see `resident`); the
first adds up what the others have, in their order. Sequences come in groups of four, the longest
first: a step ends at the first group that has no such step.

State is kept where the caller wants it at the end: c in c_last, dh and dc in dh_first, dc_first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import inlined, load4, meet_block, store4, thread_of_block
from ..runtime import ptx as ptx
from .resident import CHUNK, VECTORS, Tile

_ONE = np.uint32(1)


def vector_size(tiles: tuple[Tile, ...]) -> int:
    """Numbers in shared memory besides weights: four vectors, and sums of rows of teams."""
    first = tiles[0]
    columns = max(t.columns for t in tiles)
    return VECTORS * max(t.inner for t in tiles) + first.split * columns * first.units * VECTORS


def exchanged_size(tiles: tuple[Tile, ...], batch: int, both: bool) -> int:
    """Numbers in global memory that blocks exchange; `both` where each tile has two planes."""
    groups = -(-batch // VECTORS)
    planes = (2, 2) if both else (2, 1)
    sizes = (p * t.inner for p, t in zip(planes, tiles))
    return VECTORS * groups * sum(sizes)


@inlined
def meet(counter: Any, target: int) -> None:
    """Wait until all blocks were here; `target` is the number of times that blocks were."""
    meet_block()
    if thread_of_block() == 0:
        address = ptx.global_address(counter, 0)
        ptx.add_release(address, _ONE)
        while ptx.load_acquire(address) < target:
            pass
    meet_block()


@inlined
def stage(vectors: Any, exchanged: Any, start: int, size: int, tid: int, threads: int) -> None:
    """vectors[:size] = exchanged[start : start + size], 16 bytes at a time."""
    i = tid * CHUNK
    while i < size:
        store4(vectors, i, load4(exchanged, start + i))
        i += threads * CHUNK


def make_total(t: Tile, sums_start: int) -> Any:
    """Device function: sums of the rows of teams, for the first row; all threads meet in it."""
    row_threads, split = t.units * VECTORS, t.split
    final = t.columns if t.lanes == 4 else 1

    @inlined
    def total(sums: Any, shared: Any, tid: int) -> None:
        part, local = tid // row_threads, tid % row_threads
        if part > 0:
            for g in range(final):
                shared[sums_start + (part * final + g) * row_threads + local] = sums[g]
        meet_block()
        if part == 0:
            for other in range(1, split):
                for g in range(final):
                    sums[g] += shared[sums_start + (other * final + g) * row_threads + local]

    return total
