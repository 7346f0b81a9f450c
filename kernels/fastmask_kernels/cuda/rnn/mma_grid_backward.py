"""The time loop backward on tensor cores, for weights that no single block can hold.

As `mma_grid`; what blocks exchange are gradients of gates, in two planes for each product.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ..runtime.kernel import (
    WARP,
    Kernel,
    family,
    float32,
    int32,
    int64,
    kernel,
    number,
    pointer,
    uint32,
)
from .cells import cell as cell_of
from .emit import Kind
from .grid import meet
from .mma import SEQUENCES, Fragments, make_fetch, make_multiply, number_of, rounded
from .mma_backward import Walk
from .mma_grid import group_size, make_place, make_read, make_total, vector_size


@family()
def backward(kind: Kind, tiles: tuple[Fragments, ...], dtype: Any, walk: Walk) -> Kernel:
    """The kernel backward; arguments as those of `mma_backward.gradient_loop`."""
    cell = cell_of(kind, dtype)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    threads, warps, units, in_word = first.threads, first.warps, first.units, first.in_word
    row_threads = warps * WARP
    item = number_of(in_word)
    group_items, second_items = group_size(first) * in_word, group_size(second) * in_word
    lane_items = 4 * in_word
    part_items, second_part = (t.chunks * WARP * lane_items for t in (first, second))
    kept = vector_size(tiles)
    second_kept, second_start = kept + first.shared_size, first.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    begins, gates_back = cell.returns[0]
    saved, has_c, has_dy, reverse = cell.saved, cell.has_c, walk.has_dy, walk.reverse
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply = make_multiply(first, make_read(first))
    multiply_second = make_multiply(second, make_read(second))
    total, total_second = make_total(first), make_total(second)
    place, second_place, to_bits = make_place(first), make_place(second), rounded(in_word)
    begin, between = cell.begin, cell.between
    zero = dtype.type(0)
    back = units if reverse else -units

    @kernel(
        *(reals, reals, reals, reals, reals, pointer(uint32), int64, ints, ints),
        *(reals, reals, reals, pointer(uint32), pointer(item), int64, int64, int64),
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
        all_units: int,
        backwards: bool,
    ) -> None:
        words = cuda.shared.array(0, uint32, alignment=16)
        partial = cuda.shared.array(0, float32, alignment=16)
        held = cuda.local.array(held_size, uint32)
        held_second = cuda.local.array(second_held_size, uint32)
        sums = cuda.local.array(4, real)
        ds = cuda.local.array(4, real)
        tid = int32(cuda.threadIdx.x)
        lane, part, block = tid % WARP, tid // row_threads, int32(cuda.blockIdx.x)
        team = block * warps + tid // WARP % warps
        unit, pair = team * 8 + lane // 4, lane % 4 * 2
        here = part == 0 and unit < units
        mine = part * part_items + lane * lane_items
        second_mine = part * second_part + lane * lane_items
        fetch(held, words, kept, weights, weights_start, block, tid)
        if two:
            fetch_second(
                held_second, words, second_kept, weights, weights_start + second_start, block, tid
            )
        groups = (batch + (SEQUENCES - 1)) // SEQUENCES
        plane, second_plane = groups * group_items, groups * second_items
        longest = batch - batch
        if batch > 0:
            longest = offsets[order[0] + 1] - offsets[order[0]]
        for group in range(groups):
            for s in range(2):
                if here and group * SEQUENCES + pair + s < batch:
                    state = order[group * SEQUENCES + pair + s] * units + unit
                    dh_first[state] = dh_last[state]
                    if has_c:
                        dc_first[state] = dc_last[state]
        target = cuda.gridDim.x - cuda.gridDim.x
        for i in range(longest):
            k = longest - 1 - i
            old = k % 2
            for stage in range(3 if two else 2):  # the cell, then each product
                for group in range(groups):
                    b = order[group * SEQUENCES]
                    if offsets[b + 1] - offsets[b] <= k:
                        break
                    to = old * plane + group * group_items
                    to_second = 2 * plane + old * second_plane + group * second_items
                    if stage == 1:
                        multiply(sums, held, words, kept, tid, exchanged, to + mine)
                        total(sums, partial, group % 2, tid)
                    elif stage == 2:
                        multiply_second(
                            *(sums, held_second, words, second_kept, tid),
                            *(exchanged, to_second + second_mine),
                        )
                        total_second(sums, partial, group % 2, tid)
                    for s in range(2):
                        vector = pair + s
                        if here and group * SEQUENCES + vector < batch:
                            b = order[group * SEQUENCES + vector]
                            row, count = offsets[b], offsets[b + 1] - offsets[b]
                            if k < count:
                                row += count - 1 - k if reverse else k
                                state, own = b * units + unit, row * units + unit
                                at = row * saved * units + unit
                                before = first_states[state] if k == 0 else states[own + back]
                                if stage == 0:
                                    g0, g1, g2, g3 = gates[at], zero, zero, zero
                                    if saved > 1:
                                        g1 = gates[at + units]
                                        g2 = gates[at + 2 * units]
                                        g3 = gates[at + 3 * units]
                                    after, dh, dc = states[own], dh_first[state], zero
                                    if has_dy:
                                        dh += dy[own]
                                    if has_c:
                                        dc = dc_first[state]
                                    ds[0], ds[1], ds[2], ds[3], direct, dc = begin(
                                        g0, g1, g2, g3, after, before, after, before, dh, dc
                                    )
                                    dh_first[state] = direct
                                    if has_c:
                                        dc_first[state] = dc
                                    gates[at] = ds[0]
                                    if saved > 1:
                                        gates[at + units] = ds[1]
                                        if not two:  # r is still needed
                                            gates[at + 2 * units] = ds[2]
                                        gates[at + 3 * units] = ds[3]
                                    for gate in range(gates_back):
                                        spot = place(gate * units + unit, vector)
                                        exchanged[to + spot] = to_bits(ds[begins + gate])
                                elif two and stage == 1:
                                    d2, passed = between(sums[s], gates[at + 2 * units], before)
                                    dh_first[state] += passed
                                    gates[at + 2 * units] = d2
                                    spot = second_place(unit, vector)
                                    exchanged[to_second + spot] = to_bits(gates[at + units])
                                    spot = second_place(units + unit, vector)
                                    exchanged[to_second + spot] = to_bits(d2)
                                else:
                                    dh_first[state] += sums[s]
                if stage < (2 if two else 1):
                    target += cuda.gridDim.x
                    meet(counter, target)

    return run
