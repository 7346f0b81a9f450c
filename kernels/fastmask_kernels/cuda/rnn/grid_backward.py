"""The time loop backward for weights that no single block can hold.

As `grid`; what blocks exchange are gradients of gates, in two planes for each product.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ..runtime.kernel import Kernel, family, int64, kernel, number, pointer, uint32
from .cells import cell as cell_of
from .emit import Kind
from .grid import make_total, meet, stage, vector_size
from .multiplying import make_fetch, make_multiply
from .resident import VECTORS, Tile


@family()
def backward(kind: Kind, tiles: tuple[Tile, ...], dtype: Any, has_dy: bool) -> Kernel:
    """The kernel backward; arguments as those of `backward.gradient_loop`."""
    cell = cell_of(kind, dtype)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    threads, row_threads, own = first.threads, first.units * 4, first.units
    inner, second_inner = first.inner, second.inner
    four_vectors, second_vectors = VECTORS * inner, VECTORS * second_inner
    sums_start, kept = VECTORS * max(t.inner for t in tiles), vector_size(tiles)
    second_kept = kept + first.shared_size
    first_size, second_size = first.size, second.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    begins, gates_back = cell.returns[0]
    saved, has_c = cell.saved, cell.has_c
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply, multiply_second = make_multiply(first, dtype), make_multiply(second, dtype)
    total, total_second = make_total(first, sums_start), make_total(second, sums_start)
    begin, between = cell.begin, cell.between
    zero = dtype.type(0)

    @kernel(
        *(reals, reals, reals, reals, reals, reals, int64, ints, ints),
        *(reals, reals, reals, pointer(uint32), reals, int64, int64, int64),
        cooperative=True,
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
        counter: Any,
        exchanged: Any,
        batch: int,
        units: int,
        reverse: bool,
    ) -> None:
        shared = cuda.shared.array(0, real, alignment=16)
        held = cuda.local.array(held_size, real)
        held_second = cuda.local.array(second_held_size, real)
        sums = cuda.local.array(16, real)
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
        groups = (batch + 3) // 4
        plane, second_plane = groups * four_vectors, groups * second_vectors
        longest = batch - batch
        if batch > 0:
            longest = offsets[order[0] + 1] - offsets[order[0]]
        for group in range(groups):
            if here and group * 4 + lane < batch:
                state = order[group * 4 + lane] * units + unit
                dh_first[state] = dh_last[state]
                if has_c:
                    dc_first[state] = dc_last[state]
        target = blocks - blocks
        for i in range(longest):
            k = longest - 1 - i
            old = k % 2
            for part in range(3 if two else 2):  # the cell, then each product
                for group in range(groups):
                    b = order[group * 4]
                    if offsets[b + 1] - offsets[b] <= k:
                        break
                    if part == 1:
                        start = old * plane + group * four_vectors
                        stage(shared, exchanged, start, four_vectors, tid, threads)
                        cuda.syncthreads()
                        multiply(sums, held, shared, kept, weights, mine, tid, shared, 0)
                        total(sums, shared, tid)
                    elif part == 2:
                        start = 2 * plane + old * second_plane + group * second_vectors
                        stage(shared, exchanged, start, second_vectors, tid, threads)
                        cuda.syncthreads()
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
                        state = b * units + unit
                        place = old * plane + group * four_vectors + lane * inner + unit
                        if k < count:
                            row += count - 1 - k if reverse else k
                            back = row + 1 if reverse else row - 1
                            at, own_row = row * saved * units + unit, row * units + unit
                            if part == 2 or (part == 1 and not two):
                                dh_first[state] += sums[0]
                            else:
                                before = zero
                                if k == 0:
                                    before = first_states[state]
                                else:
                                    before = states[back * units + unit]
                                if part == 1:
                                    d2, passed = between(sums[0], gates[at + 2 * units], before)
                                    dh_first[state] += passed
                                    gates[at + 2 * units] = d2
                                    to = 2 * plane + old * second_plane
                                    to += group * second_vectors + lane * second_inner + unit
                                    exchanged[to] = gates[at + units]
                                    exchanged[to + units] = d2
                                else:
                                    g0, g1, g2, g3 = zero, zero, zero, zero
                                    g0 = gates[at]
                                    if saved > 1:
                                        g1 = gates[at + units]
                                        g2 = gates[at + 2 * units]
                                        g3 = gates[at + 3 * units]
                                    after, dh, dc = states[own_row], dh_first[state], zero
                                    if has_dy:
                                        dh += dy[own_row]
                                    if has_c:
                                        dc = dc_first[state]
                                    d0, d1, d2, d3, direct, dc = begin(
                                        g0, g1, g2, g3, after, before, after, before, dh, dc
                                    )
                                    dh_first[state] = direct
                                    if has_c:
                                        dc_first[state] = dc
                                    gates[at] = d0
                                    if saved > 1:
                                        gates[at + units] = d1
                                        if not two:  # r is still needed
                                            gates[at + 2 * units] = d2
                                        gates[at + 3 * units] = d3
                                    if gates_back == 1:
                                        exchanged[place] = d0
                                    elif begins == 0:
                                        exchanged[place] = d0
                                        exchanged[place + units] = d1
                                        exchanged[place + 2 * units] = d2
                                        exchanged[place + 3 * units] = d3
                                    else:
                                        exchanged[place] = d1
                                        exchanged[place + units] = d2
                                        exchanged[place + 2 * units] = d3
                if part < (2 if two else 1):
                    target += blocks
                    meet(counter, target)

    return run
