"""The time loops on tensor cores for weights that no single block can hold.

As `grid`: each block owns the units of some rows of warps and takes part in every step of every
sequence; what all units are needed for goes through global memory, in two planes a step, between
barriers of the grid. Sequences come in groups of eight, the longest first.

Planes are written in the order in which warps read them, so that a lane's words of a chunk are 16
neighbouring bytes, and each warp takes its part of a vector from the L2 cache to its registers:

    [group][chunk][lane][2 products of 2 words]     see `_ptx` for B of lane 4 n + t

The inner sum is shared by `split` rows of warps; those of the first do the cells, after adding up
what the others left in shared memory, in their order.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from . import _ptx as ptx
from . import mma_backward, mma_forward
from ._kernel import WARP, Kernel, family, float32, int32, int64, kernel, number, pointer, uint32
from .cells import Kind
from .cells import cell as cell_of
from .grid import meet
from .mma import CHUNK, SEQUENCES, Fragments, make_fetch, make_multiply, number_of, rounded
from .ops import inlined, meet_block


def vector_size(tiles: tuple[Fragments, ...]) -> int:
    """Words in shared memory besides weights: two turns of the sums of all rows of warps."""
    return 2 * max(_turn_size(t) for t in tiles)


def _turn_size(t: Fragments) -> int:
    return (t.split - 1) * t.cells_sums * t.warps * WARP


def _group_size(t: Fragments) -> int:
    """Words of a group's plane."""
    return t.split * t.chunks * CHUNK * SEQUENCES


def exchanged_size(tiles: tuple[Fragments, ...], batch: int, both: bool) -> int:
    """Words in global memory that blocks exchange; `both` where each tile has two planes."""
    groups = -(-batch // SEQUENCES)
    planes = (2, 2) if both else (2, 1)
    return groups * sum(p * _group_size(t) for p, t in zip(planes, tiles))


def _make_place(t: Fragments) -> Any:
    """Device function: where the i-th number of a vector stands in its group's plane."""
    in_word = t.in_word

    @inlined
    def place(i: int, vector: int) -> Any:
        word, half = i // in_word, i % in_word
        chunk, word = word // CHUNK, word % CHUNK
        lane, slot = 4 * vector + word % 4, word // 4
        return ((chunk * WARP + lane) * 4 + slot) * in_word + half

    return place


def _make_read(t: Fragments) -> Any:
    """Device function: a lane's words of a chunk, from L2."""
    items = WARP * 4 * t.in_word

    @inlined
    def read(exchanged: Any, at: int, chunk: int) -> Any:
        return ptx.load_global_4_words(ptx.global_address(exchanged, at + chunk * items))

    return read


def _make_total(t: Fragments) -> Any:
    """Device function: sums of the rows of warps, for the first row; all threads meet in it."""
    row_threads, split, many = t.warps * WARP, t.split, t.cells_sums
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


@family()
def forward(
    kind: Kind, tiles: tuple[Fragments, ...], dtype: Any, walk: mma_forward.Walk
) -> Kernel:
    """The kernel forward; arguments as those of `mma_forward.time_loop`."""
    cell = cell_of(kind, dtype, True)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    threads, warps, units, in_word = first.threads, first.warps, first.units, first.in_word
    row_threads, teams = warps * WARP, first.teams
    item, group_items = number_of(in_word), _group_size(first) * in_word
    part_items = first.chunks * WARP * 4 * in_word
    kept = vector_size(tiles)
    second_kept, second_start = kept + first.shared_size, first.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    sums_size = 4 * max(t.tiles for t in tiles)
    late, has_c, reverse = cell.late, cell.has_c, walk.reverse
    width = (cell.saved if walk.save_gates else cell.inputs) * units
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply = make_multiply(first, _make_read(first))
    multiply_second = make_multiply(second, _make_read(second))
    total, total_second = _make_total(first), _make_total(second)
    place, to_bits = _make_place(first), rounded(in_word)
    steps = mma_forward.Steps(cell, tiles, walk)
    read, reset, advance = steps.read, steps.reset, steps.advance
    zero = dtype.type(0)

    @kernel(
        *(reals, int64, reals, reals, int64, pointer(uint32), int64, reals, int64, ints, ints),
        *(reals, reals, reals, reals, pointer(uint32), pointer(item), int64, int64, int64),
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
        all_units: int,
        backwards: bool,
    ) -> None:
        words = cuda.shared.array(0, uint32, alignment=16)
        partial = cuda.shared.array(0, float32, alignment=16)
        held = cuda.local.array(held_size, uint32)
        held_second = cuda.local.array(second_held_size, uint32)
        sums = cuda.local.array(sums_size, real)
        h = cuda.local.array(2, real)
        c = cuda.local.array(2, real)
        zs = cuda.local.array(8, real)
        middle = cuda.local.array(6, real)
        count = cuda.local.array(2, int32)
        at = cuda.local.array(2, int64)
        to = cuda.local.array(2, int64)
        state = cuda.local.array(2, int64)
        tid = int32(cuda.threadIdx.x)
        lane, part, block = tid % WARP, tid // row_threads, int32(cuda.blockIdx.x)
        team = block * warps + tid // WARP % warps
        unit, pair = team * 8 + lane // 4, lane % 4 * 2
        leads = part == 0 and team < teams
        here = leads and unit < units
        mine = part * part_items + lane * (4 * in_word)
        fetch(held, words, kept, weights, weights_start, block, tid)
        if two:
            fetch_second(
                held_second, words, second_kept, weights, weights_start + second_start, block, tid
            )
        groups = (batch + (SEQUENCES - 1)) // SEQUENCES
        plane = groups * group_items
        longest = batch - batch
        if batch > 0:
            longest = offsets[order[0] + 1] - offsets[order[0]]
        for s in range(2):
            h[s], c[s], state[s] = zero, zero, 0
            zs[4 * s], zs[4 * s + 1], zs[4 * s + 2], zs[4 * s + 3] = zero, zero, zero, zero
            if late and here:
                zs[4 * s + 3] = bias[bias_start + unit]
        for group in range(groups):
            for s in range(2):
                if here and group * SEQUENCES + pair + s < batch:
                    own = order[group * SEQUENCES + pair + s] * units + unit
                    h[s] = h_first[own]
                    exchanged[group * group_items + place(unit, pair + s)] = to_bits(h[s])
                    h_last[own] = h[s]
                    if has_c:
                        c_last[own] = c_first[own]
        target = cuda.gridDim.x
        meet(counter, target)
        for step in range(longest):
            k = int32(step)
            old, new = step % 2 * plane, (step + 1) % 2 * plane
            for half in range(2 if two else 1):
                for group in range(groups):
                    b = order[group * SEQUENCES]
                    if offsets[b + 1] - offsets[b] <= step:
                        break
                    at_group = group * group_items
                    for s in range(2):
                        count[s], at[s], to[s] = int32(0), 0, 0
                        if here and group * SEQUENCES + pair + s < batch:
                            b = order[group * SEQUENCES + pair + s]
                            row = offsets[b]
                            count[s] = int32(offsets[b + 1] - row)
                            state[s] = b * units + unit
                            if step < count[s]:
                                row += count[s] - 1 - step if reverse else step
                                at[s] = row * width + unit
                                to[s] = row * units + unit
                                h[s] = h_last[state[s]]
                                if has_c:
                                    c[s] = c_last[state[s]]
                    read(zs, k, count, unit, z, at)
                    if half == 0:
                        multiply(sums, held, words, kept, tid, exchanged, old + at_group + mine)
                        total(sums, partial, group % 2, tid)
                    else:
                        multiply_second(
                            *(sums, held_second, words, second_kept, tid),
                            *(exchanged, 2 * plane + at_group + mine),
                        )
                        total_second(sums, partial, group % 2, tid)
                    if two and half == 0:
                        reset(sums, zs, h, middle)
                    else:
                        if two:  # the gates and r * h of the first half
                            for s in range(2):
                                middle[2 + s] = zs[4 * s + 1]
                                middle[4 + s] = zs[4 * s + 2]
                                middle[s] = zs[4 * s + 2] * h[s]
                        advance(sums, zs, middle, h, c, k, count, unit, z, at, h_rows, c_rows, to)
                    for s in range(2):
                        if k < count[s]:
                            spot = at_group + place(unit, pair + s)
                            if two and half == 0:
                                exchanged[2 * plane + spot] = to_bits(middle[s])
                                z[at[s] + units] = middle[2 + s]
                                z[at[s] + 2 * units] = middle[4 + s]
                            else:
                                exchanged[new + spot] = to_bits(h[s])
                                h_last[state[s]] = h[s]
                                if has_c:
                                    c_last[state[s]] = c[s]
                target += cuda.gridDim.x
                meet(counter, target)

    return run


@family()
def backward(
    kind: Kind, tiles: tuple[Fragments, ...], dtype: Any, walk: mma_backward.Walk
) -> Kernel:
    """The kernel backward; arguments as those of `mma_backward.gradient_loop`."""
    cell = cell_of(kind, dtype)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    threads, warps, units, in_word = first.threads, first.warps, first.units, first.in_word
    row_threads, teams = warps * WARP, first.teams
    item = number_of(in_word)
    group_items, second_items = _group_size(first) * in_word, _group_size(second) * in_word
    lane_items = 4 * in_word
    part_items, second_part = (t.chunks * WARP * lane_items for t in (first, second))
    kept = vector_size(tiles)
    second_kept, second_start = kept + first.shared_size, first.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    begins, gates_back = cell.returns[0]
    saved, has_c, has_dy, reverse = cell.saved, cell.has_c, walk.has_dy, walk.reverse
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply = make_multiply(first, _make_read(first))
    multiply_second = make_multiply(second, _make_read(second))
    total, total_second = _make_total(first), _make_total(second)
    place, second_place, to_bits = _make_place(first), _make_place(second), rounded(in_word)
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
