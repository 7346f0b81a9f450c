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
from numba import cuda

from ..ops import inlined, load4, meet_block, thread_of_block
from ..runtime import ptx as ptx
from ..runtime.kernel import Kernel, family, int64, kernel, number, pointer, uint32
from .cells import cell as cell_of
from .emit import Kind
from .multiplying import make_fetch, make_multiply
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
        four = load4(exchanged, start + i)
        vectors[i] = four[0]
        vectors[i + 1] = four[1]
        vectors[i + 2] = four[2]
        vectors[i + 3] = four[3]
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


@family()
def forward(
    kind: Kind, tiles: tuple[Tile, ...], dtype: Any, saves: tuple[bool, bool, bool]
) -> Kernel:
    """The kernel forward; arguments as those of `forward.time_loop`."""
    save_h, save_c, save_gates = saves
    cell = cell_of(kind, dtype)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    inner, threads, row_threads, own = first.inner, first.threads, first.units * 4, first.units
    four_vectors = VECTORS * inner
    sums_start, kept = VECTORS * max(t.inner for t in tiles), vector_size(tiles)
    second_kept = kept + first.shared_size
    first_size, second_size = first.size, second.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    sums_size = max(t.columns for t in tiles) * VECTORS
    columns, inputs, saved, late, has_c = (
        first.columns,
        cell.inputs,
        cell.saved,
        cell.late,
        cell.has_c,
    )
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply, multiply_second = make_multiply(first, dtype), make_multiply(second, dtype)
    total, total_second = make_total(first, sums_start), make_total(second, sums_start)
    step, reset = cell.step, cell.reset
    zero = dtype.type(0)

    @kernel(
        *(reals, int64, reals, reals, int64, reals, int64, reals, int64, ints, ints),
        *(reals, reals, reals, reals, pointer(uint32), reals, int64, int64, int64),
        cooperative=True,
        launch_bounds=(threads, 1),
    )
    def run(
        h_rows: Any,
        h_stride: int,
        c_rows: Any,
        z: Any,
        z_stride: int,
        weights: Any,
        weights_start: int,
        bias: Any,
        bias_start: int,
        offsets: Any,
        order: Any,
        h_first: Any,
        c_first: Any,
        h_last: Any,
        c_last: Any,
        counter: Any,
        exchanged: Any,
        batch: int,
        units: int,
        reverse: bool,
    ) -> None:
        shared = cuda.shared.array(0, real, alignment=16)
        held = cuda.local.array(held_size, real)
        held_second = cuda.local.array(second_held_size, real)
        sums = cuda.local.array(sums_size, real)
        tid = cuda.threadIdx.x
        lane, leads = tid & 3, tid < row_threads
        block, blocks = cuda.blockIdx.x, cuda.gridDim.x
        unit = block * own + tid % row_threads // 4
        here = leads and unit < units
        mine = weights_start + block * first_size
        second_mine = weights_start + blocks * first_size + block * second_size
        fetch(held, shared, kept, weights, mine, tid)
        if two:
            fetch_second(held_second, shared, second_kept, weights, second_mine, tid)
        z3 = zero
        if late and here:
            z3 = bias[bias_start + unit]
        groups = (batch + 3) // 4
        plane = groups * four_vectors
        longest = batch - batch
        if batch > 0:
            longest = offsets[order[0] + 1] - offsets[order[0]]
        for group in range(groups):
            if here and group * 4 + lane < batch:
                b = order[group * 4 + lane]
                state = b * units + unit
                h = h_first[state]
                exchanged[group * four_vectors + lane * inner + unit] = h
                h_last[state] = h
                if has_c:
                    c_last[state] = c_first[state]
        target = blocks
        meet(counter, target)
        for k in range(longest):
            old, new = k % 2 * plane, (k + 1) % 2 * plane
            for part in range(2 if two else 1):
                for group in range(groups):
                    b = order[group * 4]
                    if offsets[b + 1] - offsets[b] <= k:
                        break
                    at_group = group * four_vectors
                    if part == 0:
                        stage(shared, exchanged, old + at_group, four_vectors, tid, threads)
                    else:
                        stage(shared, exchanged, 2 * plane + at_group, four_vectors, tid, threads)
                    cuda.syncthreads()
                    if part == 0:
                        multiply(sums, held, shared, kept, weights, mine, tid, shared, 0)
                        total(sums, shared, tid)
                    else:
                        multiply_second(
                            sums,
                            held_second,
                            shared,
                            second_kept,
                            weights,
                            second_mine,
                            tid,
                            shared,
                            0,
                        )
                        total_second(sums, shared, tid)
                    if here and group * 4 + lane < batch:
                        b = order[group * 4 + lane]
                        row, count = offsets[b], offsets[b + 1] - offsets[b]
                        if k < count:
                            row += count - 1 - k if reverse else k
                            state, at = b * units + unit, row * z_stride + unit
                            place = at_group + lane * inner + unit
                            h, c = exchanged[old + place], zero
                            z0, z1, z2 = z[at], zero, zero
                            if inputs > 1:
                                z1 = z[at + units]
                                z2 = z[at + 2 * units]
                            if inputs > 3:
                                z3 = z[at + 3 * units]
                            s0, s1, s2, s3 = sums[0], zero, zero, zero
                            if columns > 1:
                                s1 = sums[1]
                            if columns > 2:
                                s2 = sums[2]
                            if columns > 3:
                                s3 = sums[3]
                            if two and part == 0:
                                s3, s1, s2 = reset(s0, s1, z0, z1, z2, z3, h)
                                exchanged[2 * plane + place] = s3
                                z[at + units] = s1
                                z[at + 2 * units] = s2
                            else:
                                if two:
                                    s1, s2, s3 = z1, z2, z2 * h
                                if has_c:
                                    c = c_last[state]
                                h, c, g0, g1, g2, g3 = step(s0, s1, s2, s3, z0, z1, z2, z3, h, c)
                                exchanged[new + place] = h
                                h_last[state] = h
                                if has_c:
                                    c_last[state] = c
                                if save_gates:
                                    z[at] = g0
                                    if saved > 1:
                                        z[at + units] = g1
                                        z[at + 2 * units] = g2
                                        z[at + 3 * units] = g3
                                if save_h:
                                    h_rows[row * h_stride + unit] = h
                                if save_c:
                                    c_rows[row * units + unit] = c
                target += blocks
                meet(counter, target)

    return run
