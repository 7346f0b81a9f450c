"""The time loop of `forward` on tensor cores: a block holds all weights as in `mma`.

It takes eight sequences at a time, the longest first, and runs all their steps. A thread has
`2 * own` cells, units g and g + 8 of its warp for sequences 2 t and 2 t + 1, whose state stays in
its registers in float32. h of all units stands in two planes of shared memory, rounded, read from
one and written to the other, so that one barrier a step is enough. Rows of z are read one step
ahead.

A sequence that has ended computes on, on numbers of its own that nobody reads: no branch parts
the warp.
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
    """Words in shared memory besides weights: two planes of h, and r * h of two rounds."""
    return (1 + len(tiles)) * SEQUENCES * tiles[0].stride


class Walk(NamedTuple):
    """How a time loop goes through its rows, known when it is compiled."""

    save_h: bool  # h, c and gates are written at each step
    save_c: bool
    save_gates: bool
    apart: bool  # rows of h are H numbers long, not those of z; rows of c always are
    reverse: bool


class Steps:
    """What a thread does at a step besides products: device functions for all its cells.

    Args:
        cell: what the cell does.
        tiles: of its products.
        walk: what is written where.
    """

    def __init__(self, cell: Cell, tiles: tuple[Fragments, ...], walk: Walk) -> None:
        cells = range(tiles[0].cells)
        self.read = in_turn([_make_read(cell, tiles[0], i) for i in cells])
        self.reset = in_turn([_make_reset(cell, tiles[0], i) for i in cells])
        self.advance = in_turn([_make_advance(cell, tiles, walk, i) for i in cells])


def _make_read(cell: Cell, t: Fragments, i: int) -> Any:
    """Device function: z of a cell's step k, if there is one."""
    units, inputs, whole = t.units, cell.inputs, t.units % (8 * t.own) == 0
    u, s = 8 * (i // 2), i % 2

    @inlined
    def read(zs: Any, k: int, count: Any, unit: int, z: Any, at: Any) -> None:
        if k < count[s] and (whole or unit + u < units):
            zs[4 * i] = z[at[s] + u]
            if inputs > 1:
                zs[4 * i + 1] = z[at[s] + (u + units)]
                zs[4 * i + 2] = z[at[s] + (u + 2 * units)]
            if inputs > 3:
                zs[4 * i + 3] = z[at[s] + (u + 3 * units)]

    return read


def _make_reset(cell: Cell, t: Fragments, i: int) -> Any:
    """Device function: r * h of a cell, and its gates, from the first round of two."""
    first, gates, reset = 4 * (i // 2) + i % 2, 4 * i, cell.reset
    second, cells = first + 2, t.cells

    @inlined
    def run(sums: Any, zs: Any, h: Any, kept: Any) -> None:
        z0, z1, z2, z3 = zs[gates], zs[gates + 1], zs[gates + 2], zs[gates + 3]
        operand, g1, g2 = reset(sums[first], sums[second], z0, z1, z2, z3, h[i])
        kept[i] = operand
        kept[cells + i] = g1
        kept[2 * cells + i] = g2

    return run


def _make_advance(cell: Cell, tiles: tuple[Fragments, ...], walk: Walk, i: int) -> Any:
    """Device function: a cell's state after the step, and what is saved of it."""
    save_h, save_c, save_gates, apart, _ = walk
    t, two = tiles[-1], len(tiles) == 2
    units, whole = t.units, t.units % (8 * t.own) == 0
    u, s, columns = 8 * (i // 2), i % 2, t.columns
    s0 = 2 * (i // 2) * columns + s
    s1, s2, s3 = (s0 + 2 * min(g, columns - 1) for g in (1, 2, 3))
    gates, cells = 4 * i, t.cells
    saved, has_c, step = cell.saved, cell.has_c, cell.step

    @inlined
    def advance(
        sums: Any,
        zs: Any,
        kept: Any,
        h: Any,
        c: Any,
        k: int,
        count: Any,
        unit: int,
        z: Any,
        at: Any,
        h_rows: Any,
        c_rows: Any,
        to: Any,
    ) -> None:
        z0, z1, z2, z3 = zs[gates], zs[gates + 1], zs[gates + 2], zs[gates + 3]
        a1, a2, a3 = sums[s1], sums[s2], sums[s3]
        if two:
            a1, a2, a3 = kept[cells + i], kept[2 * cells + i], kept[i]
        new_h, new_c, g0, g1, g2, g3 = step(sums[s0], a1, a2, a3, z0, z1, z2, z3, h[i], c[i])
        if k < count[s]:
            h[i] = new_h
            if has_c:
                c[i] = new_c
            if whole or unit + u < units:
                if save_gates:
                    z[at[s] + u] = g0
                    if saved > 1:
                        z[at[s] + (u + units)] = g1
                        z[at[s] + (u + 2 * units)] = g2
                        z[at[s] + (u + 3 * units)] = g3
                if save_h:
                    if apart:
                        h_rows[to[s] + u] = new_h
                    else:
                        h_rows[at[s] + u] = new_h
                if save_c:
                    c_rows[to[s] + u] = new_c

    return advance


def _make_put(t: Fragments) -> Any:
    """Device function: a thread's numbers, one a cell, go rounded to their vectors."""
    own, stride, to_bits = t.own, t.stride * t.in_word, rounded(t.in_word)
    store = ptx.store_shared_half if t.in_word == 2 else ptx.store_shared

    @inlined
    def put(items: Any, place: int, numbers: Any) -> None:
        for u in range(own):
            for s in range(2):
                address = ptx.shared_address(items, place + (s * stride + 8 * u))
                store(address, to_bits(numbers[2 * u + s]))

    return put


@family()
def time_loop(kind: Kind, tiles: tuple[Fragments, ...], dtype: Any, walk: Walk) -> Kernel:
    """The kernel for a cell; arguments as those of `forward.time_loop`.

    Strides, direction and the number of units are constants here: addresses are one addition
    away from the step before.
    """
    cell = cell_of(kind, dtype, True)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    threads, own, cells = first.threads, first.own, first.cells
    in_word, units = first.in_word, first.units
    item, plane = number_of(in_word), SEQUENCES * first.stride
    item_plane, item_stride = plane * in_word, first.stride * in_word
    planes = vector_size(tiles)
    first_kept, second_start = planes + first.shared_size, first.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    sums_size, zs_size, kept_size = 4 * max(t.tiles for t in tiles), 4 * cells, 3 * cells
    late, has_c = cell.late, cell.has_c
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply = make_multiply(first, read_shared)
    multiply_second = make_multiply(second, read_shared)
    lane_start, put = make_lane_start(first), _make_put(first)
    steps = Steps(cell, tiles, walk)
    width, reverse = (cell.saved if walk.save_gates else cell.inputs) * units, walk.reverse
    tight = any(t.in_shared for t in tiles)
    read, reset, advance = steps.read, steps.reset, steps.advance
    zero = dtype.type(0)

    @kernel(
        *(reals, int64, reals, reals, int64, pointer(uint32), int64, reals, int64, ints, ints),
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
        all_units: int,
        backwards: bool,
    ) -> None:
        words = cuda.shared.array(0, uint32, alignment=16)
        items = cuda.shared.array(0, item, alignment=16)
        ticket = cuda.shared.array(1, int32)
        held = cuda.local.array(held_size, uint32)
        held_second = cuda.local.array(second_held_size, uint32)
        sums = cuda.local.array(sums_size, real)
        h = cuda.local.array(cells, real)
        c = cuda.local.array(cells, real)
        zs = cuda.local.array(zs_size, real)
        kept = cuda.local.array(kept_size, real)
        count = cuda.local.array(2, int32)
        row = cuda.local.array(2, int64)
        at = cuda.local.array(2, int64)
        to = cuda.local.array(2, int64)
        tid = int32(cuda.threadIdx.x)
        lane = tid % WARP
        unit = tid // WARP * (8 * own) + lane // 4
        pair = lane % 4 * 2
        mine = lane_start(tid)
        place = pair * item_stride + unit
        fetch(held, words, planes, weights, weights_start, 0, tid)
        if two:
            fetch_second(
                held_second, words, first_kept, weights, weights_start + second_start, 0, tid
            )
        for i in range(tid, planes, threads):
            words[i] = uint32(0)
        # A step that is constant gives every pointer registers of its own, for an addition a step;
        # where they are short addresses are computed from the row.
        forth = -1 if reverse else 1
        if tight:
            forth = 1 - 2 * backwards
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
            for i in range(4 * cells):
                zs[i] = zero
            for s in range(2):
                count[s], row[s] = int32(0), 0
                h[s], c[s] = zero, zero
                if own > 1:
                    h[2 + s], c[2 + s] = zero, zero
                sequence = group * SEQUENCES + pair + s
                if sequence < batch:
                    b = order[sequence]
                    row[s] = offsets[b]
                    count[s] = int32(offsets[b + 1] - row[s])
                    if reverse:
                        row[s] += count[s] - 1
                    state = b * units + unit
                    for u in range(own):
                        if unit + 8 * u < units:
                            h[2 * u + s] = h_first[state + 8 * u]
                            if has_c:
                                c[2 * u + s] = c_first[state + 8 * u]
                            if late:
                                zs[4 * (2 * u + s) + 3] = bias[bias_start + unit + 8 * u]
                at[s], to[s] = row[s] * width + unit, row[s] * units + unit
            k, old = int32(0), int32(0)
            read(zs, k, count, unit, z, at)
            put(items, place, h)
            cuda.syncthreads()
            while k < longest:
                multiply(sums, held, words, planes, tid, words, mine + old)
                if two:
                    reset(sums, zs, h, kept)
                    put(items, 2 * item_plane + place, kept)
                    cuda.syncthreads()
                    multiply_second(
                        sums, held_second, words, first_kept, tid, words, mine + 2 * plane
                    )
                advance(sums, zs, kept, h, c, k, count, unit, z, at, h_rows, c_rows, to)
                k = int32(k + 1)
                for s in range(2):
                    row[s] += forth
                    at[s], to[s] = row[s] * width + unit, row[s] * units + unit
                read(zs, k, count, unit, z, at)
                old = int32(plane - old)
                put(items, old * in_word + place, h)
                cuda.syncthreads()
            for s in range(2):
                sequence = ticket[0] * SEQUENCES + pair + s
                if sequence < batch:
                    state = order[sequence] * units + unit
                    for u in range(own):
                        if unit + 8 * u < units:
                            h_last[state + 8 * u] = h[2 * u + s]
                            if has_c:
                                c_last[state + 8 * u] = c[2 * u + s]

    return run
