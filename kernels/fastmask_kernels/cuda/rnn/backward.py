"""The time loop backward: what has to wait for the step after, and nothing else.

    dh = dy + what later steps send back; gates, overwritten by the gradients of their sums;
    dh of the step before = those gradients times the transposed recurrent kernel

The same groups of four sequences, threads and tiles as `forward`, only that a team of 16 threads
shares four units: the inner sum is over the gates of all units.

    gates   (P, saved * H)  in: activated; out: gradients of sums (SimpleRNN: only out)
    dy      (P, H)          gradient of the output of each valid step
    states  (P, H)          c of an LSTM, else h
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
    """Numbers in shared memory besides weights: two planes of gradients for each product."""
    return 2 * VECTORS * sum(t.inner for t in tiles)


@family()
def gradient_loop(kind: Kind, tiles: tuple[Tile, ...], dtype: Any, has_dy: bool) -> Kernel:
    """The kernel for a cell; without `has_dy` only the last states have gradients."""
    cell = cell_of(kind, dtype)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    threads = first.threads
    plane, second_plane = VECTORS * first.inner, VECTORS * second.inner
    inner, second_inner = first.inner, second.inner
    planes = vector_size(tiles)
    kept, second_kept = planes, planes + first.shared_size
    second_vectors, second_start = 2 * plane, first.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    begins, gates_back = cell.returns[0]
    saved, has_c = cell.saved, cell.has_c
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply, multiply_second = make_multiply(first, dtype), make_multiply(second, dtype)
    begin, between = cell.begin, cell.between
    zero = dtype.type(0)

    @kernel(
        *(reals, reals, reals, reals, reals, reals, int64, ints, ints),
        *(reals, reals, reals, pointer(int32), int64, int64, int64),
        launch_bounds=(threads, 1),
    )
    def run(
        dh_first: Any,
        dc_first: Any,
        gates: Any,
        dy: Any,
        states: Any,
        weights: Any,
        weights_start: int,
        offsets: Any,
        order: Any,
        dh_last: Any,
        dc_last: Any,
        first_states: Any,
        queue: Any,
        batch: int,
        units: int,
        reverse: bool,
    ) -> None:
        shared = cuda.shared.array(0, real, alignment=16)
        ticket = cuda.shared.array(1, int32)
        held = cuda.local.array(held_size, real)
        held_second = cuda.local.array(second_held_size, real)
        sums = cuda.local.array(16, real)
        tid = cuda.threadIdx.x
        unit, lane = tid >> 2, tid & 3
        fetch(held, shared, kept, weights, weights_start, tid)
        if two:
            fetch_second(
                held_second, shared, second_kept, weights, weights_start + second_start, tid
            )
        for i in range(tid, planes, threads):
            shared[i] = zero
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
            dh, dc, after, before = zero, zero, zero, zero
            if mine:
                b = order[sequence]
                row = offsets[b]
                count = offsets[b + 1] - row
                if not reverse:
                    row += count - 1
                state = b * units + unit
                dh = dh_last[state]
                if has_c:
                    dc = dc_last[state]
                if count > 0:
                    before = states[row * units + unit]
            old = 0
            for i in range(longest):
                k = longest - 1 - i
                live = k < count
                at, own = row * saved * units + unit, row * units + unit
                g0, g1, g2, g3 = zero, zero, zero, zero
                d0, d1, d2, d3, direct = zero, zero, zero, zero, dh
                if live:
                    after = before
                    g0 = gates[at]
                    if saved > 1:
                        g1 = gates[at + units]
                        g2 = gates[at + 2 * units]
                        g3 = gates[at + 3 * units]
                    row += 1 if reverse else -1
                    before = first_states[state] if k == 0 else states[row * units + unit]
                    if has_dy:
                        dh += dy[own]
                    d0, d1, d2, d3, direct, dc = begin(
                        g0, g1, g2, g3, after, before, after, before, dh, dc
                    )
                if two:
                    if unit < units:
                        shared[old * plane + lane * inner + unit] = d0
                    cuda.syncthreads()
                    multiply(
                        sums, held, shared, kept, weights, weights_start, tid, shared, old * plane
                    )
                    if live:
                        d2, passed = between(sums[0], g2, before)
                        direct += passed
                to = second_vectors if two else 0
                to += old * second_plane + lane * second_inner + unit
                if unit < units:
                    if two:
                        shared[to] = d1
                        shared[to + units] = d2
                    elif gates_back == 1:
                        shared[to] = d0
                    elif begins == 0:
                        shared[to] = d0
                        shared[to + units] = d1
                        shared[to + 2 * units] = d2
                        shared[to + 3 * units] = d3
                    else:
                        shared[to] = d1
                        shared[to + units] = d2
                        shared[to + 2 * units] = d3
                if live:
                    gates[at] = d0
                    if saved > 1:
                        gates[at + units] = d1
                        gates[at + 2 * units] = d2
                        gates[at + 3 * units] = d3
                cuda.syncthreads()
                if two:
                    multiply_second(
                        sums,
                        held_second,
                        shared,
                        second_kept,
                        weights,
                        weights_start + second_start,
                        tid,
                        shared,
                        second_vectors + old * second_plane,
                    )
                else:
                    multiply(
                        sums, held, shared, kept, weights, weights_start, tid, shared, old * plane
                    )
                if live:
                    dh = direct + sums[0]
                old = 1 - old
            if mine:
                dh_first[state] = dh
                if has_c:
                    dc_first[state] = dc

    return run
