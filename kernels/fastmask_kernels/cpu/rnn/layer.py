"""One call of a recurrent layer's forward kernel: its plan, its memory, its threads."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..jit import CompiledKernel, array, compiled, inner, output
from ..packing import Array
from ..parallel.atomics import atomic_add
from ..parallel.barrier import (
    GROUPS_DONE,
    NEXT_GROUP,
    NEXT_ROW,
    ROWS_DONE,
    Team,
    arrive,
    control_size,
    is_to_leave,
    wait_for,
)
from ..parallel.pool import run_shared, who_helps
from ..parallel.queue import ALONE, LEFT, UNSHARED, post
from ..parallel.schedule import ALONE_TO_THE_END, Shares, share
from ..simd import aligned_start, flat, flat_from, lanes_of
from .activations import CODES
from .batch import Batch, Scratch, begin_rows, clear, copy_all, fill_masked
from .forward import Cell, Net, count_panels, time_loop
from .groups import Groups, take_group
from .ranks import find_fault, length_of_rank, raise_fault
from .sizes import INDEX_ROWS, SETTINGS_OF_SIZES, Sizes, SizesOf, sizes_of

Ints = NDArray[np.int64]

SETTINGS = 7 + SETTINGS_OF_SIZES  # plain numbers of a call
ROWS_OF_A_SHARE = 8  # whose masked outputs a thread writes in one go
_i8 = types.int64


@inner
def _share_masked(batch: Any, control: Any, rows: int, member: int) -> None:
    """Write the masked outputs of all rows, a few rows a thread at a time."""
    row = 0
    while row < rows:
        row = atomic_add(control, NEXT_ROW, ROWS_OF_A_SHARE)
        for i in range(row, min(row + ROWS_OF_A_SHARE, rows)):
            fill_masked(batch, i)
        atomic_add(control, ROWS_DONE, ROWS_OF_A_SHARE if row < rows else 0)
    if member == 0:
        wait_for(control, ROWS_DONE, rows)


class LayerKernel(NamedTuple):
    """The compiled kernel of a cell, and what it needs."""

    cell: Cell
    work: CompiledKernel
    sizes: SizesOf


def _work_signature(t: Any) -> Any:
    return _i8(
        *(output(t, 3), output(t, 2), output(t, 2), output(t, 2), output(t, 2), output(t, 2)),
        *(output(t, 1), output(_i8, 1), array(t, 3)),
        *(array(_i8, 1), array(_i8, 1), array(_i8, 1), array(t, 1), array(t, 2), array(t, 2)),
        types.UniTuple(_i8, SETTINGS),
        *(output(_i8, 1), _i8, _i8),
    )


def layer_kernel(cell: Cell) -> LayerKernel:
    """The kernel of a cell: one thread's part of a call."""
    advance = time_loop(cell)
    panel_vectors = cell.panel

    @compiled(_work_signature, f"{cell.name}{cell.rounds}")
    def work(
        out: Any,
        h_last: Any,
        c_last: Any,
        h_steps: Any,
        c_steps: Any,
        gates: Any,
        reals: Any,
        integers: Any,
        x: Any,
        offsets: Any,
        steps: Any,
        order: Any,
        packed: Any,
        h_first: Any,
        c_first: Any,
        settings: Any,
        board: Any,
        help_from: int,
        member: int,
    ) -> int:
        """Groups of rows, each alone; together, what steps are left; then masked outputs."""
        # A tuple without names: with them calls take 2 us longer.
        activation, recurrent_activation, backwards, zeros, members, join = settings[:6]
        counters, seen_words, z_size, block_size, entries = settings[6:11]
        number, dealt, window, most, common = settings[11:]
        groups = Groups(number, dealt, window, most, common)
        rows, time, features = x.shape
        units = h_last.shape[1]
        vectors = -(-units // lanes_of(reals))
        stride = vectors * lanes_of(reals)
        plane = (groups.common + members * groups.rows) * stride
        index = counters
        first = help_from >= 0 or members == 1  # the caller, which comes as a member once more
        if first:
            for i in range(counters):
                integers[i] = 0
            integers[NEXT_GROUP] = 1  # the first one is the caller's
            seen = flat_from(integers, index)
            fault = find_fault(offsets, steps, order, time, seen, seen_words)
            if fault != 0:
                return -int(fault)
            if stride == 0 or offsets[rows] == 0:
                clear(out)
                copy_all(h_last, h_first)
                copy_all(c_last, c_first)
                return 0
        batch = Batch(
            time,
            features,
            units,
            out.shape[1] > 0,
            c_last.shape[1] > 0,
            h_steps.shape[0] > 0,
            gates.shape[0] > 0,
            flat(out),
            flat(h_last),
            flat(c_last),
            flat(h_steps),
            flat(c_steps),
            flat(gates),
            flat(x),
            flat(steps),
            flat(offsets),
            flat(order),
            backwards != 0,
            zeros != 0,
        )
        state = aligned_start(reals)
        z = state + 3 * plane
        blocks = z + members * z_size
        own_block = flat_from(reals, blocks + member * block_size)
        common_block = flat_from(reals, blocks + members * block_size)
        index += seen_words + INDEX_ROWS * member * entries
        scratch = Scratch(
            flat_from(reals, z + member * z_size),
            flat_from(integers, index),
            flat_from(integers, index + entries),
            flat_from(integers, index + 2 * entries),
            flat_from(integers, index + 3 * entries),
            flat_from(integers, index + 4 * entries),
            flat_from(integers, index + 5 * entries),
            flat_from(integers, index + 6 * entries),
            flat_from(integers, index + 7 * entries),
        )
        weights, h, c = flat(packed), flat_from(reals, state), flat_from(reals, state + 2 * plane)
        saving = 1 if gates.shape[0] > 0 else 0
        zero: Any = np.int64(0)  # of the other branch's type
        ended = post(board, help_from, integers, members, member)
        if ended != UNSHARED:
            return int(ended)
        arrive(integers, member)
        control = flat(integers)
        group = zero if member == 0 else atomic_add(control, NEXT_GROUP, 1)
        while True:
            together = group >= groups.number
            if together:
                wait_for(control, GROUPS_DONE, groups.number)
                team = Team(control, common_block, member, members)
                k, end = join, offsets[order[0] + 1] - offsets[order[0]]
            else:
                team = Team(control, own_block, zero, zero + 1)
                k, end = zero, join
            panels = count_panels(vectors, panel_vectors, team.members)
            net = Net(
                weights, h, c, panels, vectors, plane, activation, recurrent_activation, saving
            )
            taken = take_group(batch, scratch, groups, group, rows, member, stride)
            if not together:
                begin_rows(batch, net, scratch, taken, flat(h_first), flat(c_first))
            advance(batch, net, scratch, team, taken, k, end)
            if together:
                break
            atomic_add(control, GROUPS_DONE, 1)
            group = atomic_add(control, NEXT_GROUP, 1)
        shortest = offsets[order[rows - 1] + 1] - offsets[order[rows - 1]]
        if batch.sequences and shortest < time and not is_to_leave(control, member):
            _share_masked(batch, control, rows, member)
        return LEFT

    return LayerKernel(cell, work, sizes_of(cell))


def run_layer(
    kernel: LayerKernel,
    out: Array,
    last: tuple[Array, Array],
    saved: tuple[Array, Array, Array],
    x: Array,
    plan: tuple[Ints, Ints, Ints],
    packed: Array,
    first: tuple[Array, Array],
    activations: tuple[str, str],
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """Run a cell over a batch.

    Args:
        kernel: from `layer_kernel`.
        out: (B, T or 0, H), to be written.
        last: h and c, (B, H) each, to be written; c is (B, 0) for a cell without one.
        saved: h_steps, c_steps, gates, to be written; without rows where not wanted.
        x: (B, T, F).
        plan: offsets, steps, order.
        packed: weights in the cell's layout.
        first: h and c before the first step, as `last`.
        activations: of the state and of the gates.
        reverse: walk from the last step to the first.
        zero_masked: whether masked steps give zeros.
        threads: at most so many.

    Raises:
        ValueError: the plan or the packed weights do not fit.
    """
    (rows, _, features), units, dtype = x.shape, first[0].shape[1], x.dtype
    length = partial(length_of_rank, plan)
    gates = kernel.cell.layout.recurrent
    shares = share(length, rows, len(plan[1]), features, units, gates, dtype.itemsize, threads)
    help_from = who_helps(shares.members, shares.patient)
    if help_from == ALONE and shares.members > 1:
        shares = ALONE_TO_THE_END
    sizes = kernel.sizes(rows, features, units, dtype, *_of_memory(shares))
    if len(packed) != sizes.packed:
        raise ValueError(
            f"packed must come from {kernel.cell.name}_pack for {features} features, {units} units"
        )
    if len(saved[2]) and not len(saved[0]):
        raise ValueError("gates are saved only where h_steps are: give h_steps a row a step")
    options = CODES[activations[0]], CODES[activations[1]], int(reverse), int(zero_masked)
    work = kernel.work.for_dtype(dtype)
    reals, integers, settings = _scratch(sizes, dtype, shares, options)
    arguments = (out, *last, *saved, reals, integers, x, *plan, packed, *first, settings)
    done = run_shared(work, arguments, help_from, integers)
    if done < 0:
        raise_fault(-done)


def _of_memory(shares: Shares) -> tuple[int, int, int]:
    """What of a decision says how much memory a call needs."""
    return shares.members, shares.groups, shares.common


def _scratch(
    sizes: Sizes, dtype: Any, shares: Shares, options: tuple[int, int, int, int]
) -> tuple[Array, Ints, tuple[int, ...]]:
    """Memory of a call, uninitialised, and what the kernel has to know."""
    counters = control_size(shares.members)
    return (
        np.empty(sizes.reals, dtype),
        np.empty(counters + sizes.integers, np.int64),
        (*options, shares.members, shares.join, counters, *sizes.settings),
    )
