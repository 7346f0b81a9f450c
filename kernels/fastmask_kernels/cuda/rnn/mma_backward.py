"""The time loop of `backward` on tensor cores: a block holds all weights as in `mma`.

The same groups of eight sequences and the same cells of a thread as in `forward`. Gradients of
gates stand in shared memory, rounded, in two planes for each product; gates and states of a step
are read one step ahead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import cuda

from ..ops import in_turn, inlined, take_ticket
from ..runtime import ptx as ptx
from ..runtime.kernel import WARP, Kernel, family, int32, int64, kernel, number, pointer, uint32
from .cells import Cell
from .cells import cell as cell_of
from .emit import Kind
from .mma import (
    SEQUENCES,
    Fragments,
    make_fetch,
    make_lane_start,
    make_multiply,
    number_of,
    read_shared,
    rounded,
)


def vector_size(tiles: tuple[Fragments, ...]) -> int:
    """Words in shared memory besides weights: two planes of gradients for each product."""
    return 2 * SEQUENCES * sum(t.stride for t in tiles)


class Walk(NamedTuple):
    """How a time loop goes through its rows, known when it is compiled."""

    has_dy: bool  # outputs have gradients, not only last states
    reverse: bool  # of the forward pass


class Steps:
    """What a thread does at a step besides products: device functions for all its cells.

    Args:
        cell: what the cell does.
        t: one of its tiles.
        walk: what is read.
    """

    def __init__(self, cell: Cell, t: Fragments, walk: Walk) -> None:
        cells = range(t.cells)
        self.read = in_turn([_make_read(cell, t, walk, i) for i in cells])
        self.begin = in_turn([_make_begin(cell, i) for i in cells])
        self.between = in_turn([_make_between(cell, i) for i in cells])
        self.write = in_turn([_make_write(cell, t, i) for i in cells])
        self.add = in_turn([_make_add(i) for i in cells])


def _make_read(cell: Cell, t: Fragments, walk: Walk, i: int) -> Any:
    """Device function: what a cell's step k needs, if there is one."""
    units, saved, whole = t.units, cell.saved, t.units % (8 * t.own) == 0
    u, s, has_dy, back = 8 * (i // 2), i % 2, walk.has_dy, units if walk.reverse else -units

    @inlined
    def read(
        gs: Any,
        ys: Any,
        before: Any,
        k: int,
        count: Any,
        unit: int,
        gates: Any,
        at: Any,
        dy: Any,
        states: Any,
        to: Any,
        first_states: Any,
        state: Any,
    ) -> None:
        if k >= 0 and k < count[s] and (whole or unit + u < units):
            gs[4 * i] = gates[at[s] + u]
            if saved > 1:
                gs[4 * i + 1] = gates[at[s] + (u + units)]
                gs[4 * i + 2] = gates[at[s] + (u + 2 * units)]
                gs[4 * i + 3] = gates[at[s] + (u + 3 * units)]
            if has_dy:
                ys[i] = dy[to[s] + u]
            if k == 0:
                before[i] = first_states[state[s] + u]
            else:
                before[i] = states[to[s] + (u + back)]

    return read


def _make_begin(cell: Cell, i: int) -> Any:
    """Device function: the gradients of a cell's gates, and of what passes by the products."""
    begin, s, has_c = cell.begin, i % 2, cell.has_c

    @inlined
    def run(
        gs: Any,
        ys: Any,
        after: Any,
        before: Any,
        dh: Any,
        dc: Any,
        ds: Any,
        direct: Any,
        k: int,
        count: Any,
    ) -> None:
        d0, d1, d2, d3, passed, new_dc = begin(
            *(gs[4 * i], gs[4 * i + 1], gs[4 * i + 2], gs[4 * i + 3]),
            *(after[i], before[i], after[i], before[i], dh[i] + ys[i], dc[i]),
        )
        ds[4 * i], ds[4 * i + 1], ds[4 * i + 2], ds[4 * i + 3] = d0, d1, d2, d3
        direct[i] = passed
        if k < count[s] and has_c:
            dc[i] = new_dc

    return run


def _make_between(cell: Cell, i: int) -> Any:
    """Device function: the gradient of r, from the first of two products."""
    between = cell.between

    @inlined
    def run(sums: Any, gs: Any, before: Any, ds: Any, direct: Any) -> None:
        d2, passed = between(sums[i], gs[4 * i + 2], before[i])
        ds[4 * i + 2] = d2
        direct[i] += passed

    return run


def _make_write(cell: Cell, t: Fragments, i: int) -> Any:
    """Device function: gradients take the place of a cell's gates; the next step's state."""
    units, saved, whole = t.units, cell.saved, t.units % (8 * t.own) == 0
    u, s = 8 * (i // 2), i % 2

    @inlined
    def write(
        ds: Any, after: Any, before: Any, k: int, count: Any, unit: int, gates: Any, at: Any
    ) -> None:
        if k < count[s]:
            after[i] = before[i]
            if whole or unit + u < units:
                gates[at[s] + u] = ds[4 * i]
                if saved > 1:
                    gates[at[s] + (u + units)] = ds[4 * i + 1]
                    gates[at[s] + (u + 2 * units)] = ds[4 * i + 2]
                    gates[at[s] + (u + 3 * units)] = ds[4 * i + 3]

    return write


def _make_add(i: int) -> Any:
    """Device function: the gradient of h before the step."""
    s = i % 2

    @inlined
    def add(sums: Any, direct: Any, dh: Any, k: int, count: Any) -> None:
        if k < count[s]:
            dh[i] = direct[i] + sums[i]

    return add


def _make_put(t: Fragments, first: int, gates: int) -> Any:
    """Device function: some gradients of all cells go rounded to their vectors."""
    stride, units, to_bits = t.stride * t.in_word, t.units, rounded(t.in_word)
    store = ptx.store_shared_half if t.in_word == 2 else ptx.store_shared
    whole = units % (8 * t.own) == 0

    def put_one(i: int, gate: int) -> Any:
        u, source = 8 * (i // 2), 4 * i + first + gate
        ahead = i % 2 * stride + gate * units + u

        @inlined
        def put(items: Any, place: int, ds: Any, unit: int) -> None:
            if whole or unit + u < units:
                store(ptx.shared_address(items, place + ahead), to_bits(ds[source]))

        return put

    return in_turn([put_one(i, gate) for i in range(t.cells) for gate in range(gates)])


@family()
def gradient_loop(kind: Kind, tiles: tuple[Fragments, ...], dtype: Any, walk: Walk) -> Kernel:
    """The kernel for a cell; arguments as those of `backward.gradient_loop`."""
    cell = cell_of(kind, dtype)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    threads, own, cells = first.threads, first.own, first.cells
    in_word, units = first.in_word, first.units
    item = number_of(in_word)
    plane, second_plane = SEQUENCES * first.stride, SEQUENCES * second.stride
    seconds = 2 * plane if two else 0
    planes = vector_size(tiles)
    second_kept, second_start = planes + first.shared_size, first.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    many, sums_size = 4 * cells, 4 * first.tiles
    has_c, width, reverse = cell.has_c, cell.saved * units, walk.reverse
    forth = 1 if reverse else -1
    at_step, to_step = forth * width, forth * units
    first_stride, second_stride = first.stride * in_word, second.stride * in_word
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply = make_multiply(first, read_shared)
    multiply_second = make_multiply(second, read_shared)
    lane_start, second_lane_start = make_lane_start(first), make_lane_start(second)
    put, put_second = _make_put(first, *cell.returns[0]), _make_put(second, *cell.returns[-1])
    steps = Steps(cell, first, walk)
    read, begin, between = steps.read, steps.begin, steps.between
    write, add = steps.write, steps.add
    zero = dtype.type(0)

    @kernel(
        *(reals, reals, reals, reals, reals, pointer(uint32), int64, ints, ints),
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
        all_units: int,
        backwards: bool,
    ) -> None:
        words = cuda.shared.array(0, uint32, alignment=16)
        items = cuda.shared.array(0, item, alignment=16)
        ticket = cuda.shared.array(1, int32)
        held = cuda.local.array(held_size, uint32)
        held_second = cuda.local.array(second_held_size, uint32)
        sums = cuda.local.array(sums_size, real)
        gs = cuda.local.array(many, real)
        ds = cuda.local.array(many, real)
        ys = cuda.local.array(cells, real)
        dh = cuda.local.array(cells, real)
        dc = cuda.local.array(cells, real)
        direct = cuda.local.array(cells, real)
        after = cuda.local.array(cells, real)
        before = cuda.local.array(cells, real)
        count = cuda.local.array(2, int32)
        at = cuda.local.array(2, int64)
        to = cuda.local.array(2, int64)
        state = cuda.local.array(2, int64)
        tid = int32(cuda.threadIdx.x)
        lane = tid % WARP
        unit = tid // WARP * (8 * own) + lane // 4
        pair = lane % 4 * 2
        mine, second_mine = lane_start(tid), second_lane_start(tid) + seconds
        place, second_place = pair * first_stride + unit, pair * second_stride + unit
        fetch(held, words, planes, weights, weights_start, 0, tid)
        if two:
            fetch_second(
                held_second, words, second_kept, weights, weights_start + second_start, 0, tid
            )
        for i in range(tid, planes, threads):
            words[i] = uint32(0)
        while True:
            cuda.syncthreads()
            if tid == 0:
                ticket[0] = take_ticket(queue)
            cuda.syncthreads()
            group = ticket[0]
            if group * SEQUENCES >= batch:
                break
            longest = order[group * SEQUENCES]
            longest = int32(offsets[longest + 1] - offsets[longest])
            for i in range(many):
                gs[i] = zero
            for i in range(cells):
                ys[i], dh[i], dc[i], after[i], before[i] = zero, zero, zero, zero, zero
            for s in range(2):
                count[s], at[s], to[s], state[s] = int32(0), 0, 0, 0
                sequence = group * SEQUENCES + pair + s
                if sequence < batch:
                    b = order[sequence]
                    row = offsets[b]
                    count[s] = int32(offsets[b + 1] - row)
                    state[s] = b * units + unit
                    if not reverse:
                        row += count[s] - 1
                    for u in range(own):
                        if unit + 8 * u < units:
                            dh[2 * u + s] = dh_last[state[s] + 8 * u]
                            if has_c:
                                dc[2 * u + s] = dc_last[state[s] + 8 * u]
                            if count[s] > 0:
                                after[2 * u + s] = states[row * units + unit + 8 * u]
                    row -= forth * (longest - count[s])  # where it waits for its last step
                    at[s] = row * width + unit
                    to[s] = row * units + unit
            k, old = int32(longest - 1), int32(0)
            read(gs, ys, before, k, count, unit, gates, at, dy, states, to, first_states, state)
            while k >= 0:
                begin(gs, ys, after, before, dh, dc, ds, direct, k, count)
                if two:
                    put(items, old * plane * in_word + place, ds, unit)
                    cuda.syncthreads()
                    multiply(sums, held, words, planes, tid, words, mine + old * plane)
                    between(sums, gs, before, ds, direct)
                target = (seconds + old * second_plane) * in_word
                put_second(items, target + second_place, ds, unit)
                write(ds, after, before, k, count, unit, gates, at)
                for s in range(2):
                    at[s] += at_step
                    to[s] += to_step
                read(
                    *(gs, ys, before, k - 1, count, unit, gates, at),
                    *(dy, states, to, first_states, state),
                )
                cuda.syncthreads()
                if two:
                    multiply_second(
                        *(sums, held_second, words, second_kept, tid),
                        *(words, second_mine + old * second_plane),
                    )
                else:
                    multiply(sums, held, words, planes, tid, words, mine + old * plane)
                add(sums, direct, dh, k, count)
                k = int32(k - 1)
                old = int32(1 - old)
            for s in range(2):
                if group * SEQUENCES + pair + s < batch:
                    for u in range(own):
                        if unit + 8 * u < units:
                            dh_first[state[s] + 8 * u] = dh[2 * u + s]
                            if has_c:
                                dc_first[state[s] + 8 * u] = dc[2 * u + s]

    return run
