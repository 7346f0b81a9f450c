"""The time loop of a block that holds all recurrent weights (see `resident`).

It takes four sequences at a time, the longest first, and runs all their steps.

It knows nothing of masks: row p of every packed array belongs to the p-th valid step, the rows of
a sequence stand one after the other, and `reverse` only takes them from the last to the first.

    z       (P, stride)  x W + b at the valid steps; where gates are saved they replace it
    h_rows  (P, stride)  h after the step, perhaps in the first columns of z itself: a thread
                         writes only columns of units whose z nobody else reads

Four threads stand for a unit, one for each sequence; they share its products and then do the
cell, each for its own sequence. h is kept in two planes of shared memory, read from one and
written to the other, so that one barrier a step is enough.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ..ops import take_ticket
from ..runtime.kernel import Kernel, family, int32, int64, kernel, number, pointer
from .cells import cell as cell_of
from .emit import Kind
from .multiplying import make_fetch, make_multiply
from .resident import VECTORS, Tile


def vector_size(tiles: tuple[Tile, ...]) -> int:
    """Numbers in shared memory besides weights: two planes of h, and r * h of two rounds."""
    return (1 + len(tiles)) * VECTORS * tiles[0].inner


@family()
def time_loop(
    kind: Kind, tiles: tuple[Tile, ...], dtype: Any, saves: tuple[bool, bool, bool]
) -> Kernel:
    """The kernel for a cell. `saves` says whether h, c and gates are written at each step."""
    save_h, save_c, save_gates = saves
    cell = cell_of(kind, dtype)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    inner, threads = first.inner, first.threads
    plane = VECTORS * inner
    planes = vector_size(tiles)
    first_kept = planes + first.shared_size
    second_start = first.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    sums_size = max(t.columns for t in tiles) * VECTORS
    columns, inputs, saved, late = first.columns, cell.inputs, cell.saved, cell.late
    has_c = cell.has_c
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply, multiply_second = make_multiply(first, dtype), make_multiply(second, dtype)
    step, reset = cell.step, cell.reset
    zero = dtype.type(0)

    @kernel(
        *(reals, int64, reals, reals, int64, reals, int64, reals, int64, ints, ints),
        *(reals, reals, reals, reals, pointer(int32), int64, int64, int64),
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
        queue: Any,
        batch: int,
        units: int,
        reverse: bool,
    ) -> None:
        shared = cuda.shared.array(0, real, alignment=16)
        ticket = cuda.shared.array(1, int32)
        held = cuda.local.array(held_size, real)
        held_second = cuda.local.array(second_held_size, real)
        sums = cuda.local.array(sums_size, real)
        tid = cuda.threadIdx.x
        unit, lane = tid >> 2, tid & 3
        fetch(held, shared, planes, weights, weights_start, tid)
        if two:
            fetch_second(
                held_second, shared, first_kept, weights, weights_start + second_start, tid
            )
        for i in range(tid, planes, threads):
            shared[i] = zero
        z3 = zero
        if late and unit < units:
            z3 = bias[bias_start + unit]
        while True:
            cuda.syncthreads()
            if tid == 0:
                ticket[0] = take_ticket(queue)
            cuda.syncthreads()
            group = ticket[0]
            if group * 4 >= batch:
                break
            longest = order[group * 4]
            longest = offsets[longest + 1] - offsets[longest]
            sequence = group * 4 + lane
            mine = sequence < batch and unit < units
            count, row, state = longest - longest, longest - longest, 0
            h, c = zero, zero
            if mine:
                b = order[sequence]
                row = offsets[b]
                count = offsets[b + 1] - row
                if reverse:
                    row += count - 1
                state = b * units + unit
                h = h_first[state]
                if has_c:
                    c = c_first[state]
            shared[lane * inner + unit] = h
            cuda.syncthreads()
            old = 0
            for k in range(longest):
                live = k < count
                z0, z1, z2 = zero, zero, zero
                at = row * z_stride + unit
                if live:
                    z0 = z[at]
                    if inputs > 1:
                        z1 = z[at + units]
                        z2 = z[at + 2 * units]
                    if inputs > 3:
                        z3 = z[at + 3 * units]
                multiply(sums, held, shared, planes, weights, weights_start, tid, shared, old)
                s0, s1, s2, s3 = sums[0], zero, zero, zero
                if columns > 1:
                    s1 = sums[1]
                if columns > 2:
                    s2 = sums[2]
                if columns > 3:
                    s3 = sums[3]
                if two:
                    s3, s1, s2 = reset(s0, s1, z0, z1, z2, z3, h)
                    shared[2 * plane + lane * inner + unit] = s3
                    cuda.syncthreads()
                    multiply_second(
                        sums,
                        held_second,
                        shared,
                        first_kept,
                        weights,
                        weights_start + second_start,
                        tid,
                        shared,
                        2 * plane,
                    )
                    s0 = sums[0]
                if live:
                    h, c, g0, g1, g2, g3 = step(s0, s1, s2, s3, z0, z1, z2, z3, h, c)
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
                    row += -1 if reverse else 1
                old = plane - old
                shared[old + lane * inner + unit] = h
                cuda.syncthreads()
            if mine:
                h_last[state] = h
                if has_c:
                    c_last[state] = c

    return run
