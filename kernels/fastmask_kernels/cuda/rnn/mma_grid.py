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

from numba import cuda

from ..ops import inlined, meet_block
from ..runtime import ptx as ptx
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
from .mma import CHUNK, SEQUENCES, Fragments, make_fetch, make_multiply, number_of, rounded
from .mma_forward import Steps, Walk


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


@family()
def forward(kind: Kind, tiles: tuple[Fragments, ...], dtype: Any, walk: Walk) -> Kernel:
    """The kernel forward; arguments as those of `mma_forward.time_loop`."""
    cell = cell_of(kind, dtype, True)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)
    first, second, two = tiles[0], tiles[-1], len(tiles) == 2
    threads, warps, units, in_word = first.threads, first.warps, first.units, first.in_word
    row_threads, teams = warps * WARP, first.teams
    item, group_items = number_of(in_word), group_size(first) * in_word
    part_items = first.chunks * WARP * 4 * in_word
    kept = vector_size(tiles)
    second_kept, second_start = kept + first.shared_size, first.size
    held_size, second_held_size = max(first.held, 1), max(second.held if two else 0, 1)
    sums_size = 4 * max(t.tiles for t in tiles)
    late, has_c, reverse = cell.late, cell.has_c, walk.reverse
    width = (cell.saved if walk.save_gates else cell.inputs) * units
    fetch, fetch_second = make_fetch(first), make_fetch(second)
    multiply = make_multiply(first, make_read(first))
    multiply_second = make_multiply(second, make_read(second))
    total, total_second = make_total(first), make_total(second)
    place, to_bits = make_place(first), rounded(in_word)
    steps = Steps(cell, tiles, walk)
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
