"""One call of a recurrent layer's forward kernel: its plan, its memory, its threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..memory import spare
from ._compile import CompiledKernel, array, compiled, inner, output
from .activations import CODES
from .atomics import atomic_add
from .batch import Batch, Scratch, fill_masked, take_group
from .handoff import post, withdraw
from .packing import Array, packed_size, vectors_of
from .ranks import length_of_rank, raise_fault, rank_rows
from .recurrent import BLOCK_ROWS, Cell, Net, count_panels, panels_of, time_loop
from .sharing import ALONE_TO_THE_END, share
from .simd import aligned_start, copy_row, fill_row, flat, flat_from, lanes, lanes_of
from .teamwork import (
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
from .threads import ALONE, reserve, run_shared

Ints = NDArray[np.int64]

ROWS_OF_A_SHARE = 8  # whose masked outputs a thread writes in one go
INDEX_ROWS = 6  # index arrays of a thread, see `batch.Scratch`
_i8 = types.int64


@inner
def _begin(
    h_last: Any,
    c_last: Any,
    h: Any,
    c: Any,
    h_first: Any,
    c_first: Any,
    row_of: Any,
    count_of: Any,
    rows: int,
    units: int,
    has_c: bool,
) -> None:
    """Set out the first state by rank, and the last one of rows without steps."""
    width = lanes_of(h)
    stride = -(-units // width) * width
    for rank in range(rows):
        for left in range(0, units, width):
            first, at = row_of[rank] * units + left, rank * stride + left
            columns = width if width < units - left else units - left
            fill_row(h, at, width)
            fill_row(c, at, width)
            copy_row(h, at, h_first, first, columns)
            if has_c:
                copy_row(c, at, c_first, first, columns)
            if count_of[rank] == 0:
                copy_row(h_last, first, h_first, first, columns)
                if has_c:
                    copy_row(c_last, first, c_first, first, columns)


@inner
def _share_masked(batch: Any, control: Any, rows: int, member: int) -> None:
    """Write the masked outputs of all rows, a few rows a thread at a time."""
    rank = 0
    while rank < rows:
        rank = atomic_add(control, NEXT_ROW, ROWS_OF_A_SHARE)
        for i in range(rank, min(rank + ROWS_OF_A_SHARE, rows)):
            fill_masked(batch, i)
        atomic_add(control, ROWS_DONE, ROWS_OF_A_SHARE if rank < rows else 0)
    if member == 0:
        wait_for(control, ROWS_DONE, rows)


class Sizes(NamedTuple):
    """Of a call's memory."""

    packed: int  # elements
    state: int  # elements of the two planes of h and that of c
    z: int  # elements of `z` for one thread's panel
    block: int  # elements of `z` for all panels of a block of steps
    entries: int  # of an index array


class LayerKernel(NamedTuple):
    """The compiled kernel of a cell, and what it needs."""

    cell: Cell
    work: CompiledKernel
    sizes: Callable[[int, int, int, Any, int], Sizes]  # of rows, features, units, dtype, members


def _work_signature(t: Any) -> Any:
    return _i8(
        *(output(t, 3), output(t, 2), output(t, 2), output(t, 2), output(t, 2), output(t, 2)),
        *(output(t, 1), output(_i8, 1), array(t, 3)),
        *(array(_i8, 1), array(_i8, 1), array(_i8, 1), array(t, 1), array(t, 2), array(t, 2)),
        types.UniTuple(_i8, 11),
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
        slot: int,
        member: int,
    ) -> int:
        """Groups of rows, each alone; together, what steps are left; then masked outputs."""
        activation, recurrent_activation, backwards, zeros = settings[:4]
        counters, z_size, block_size, entries, members, groups, join = settings[4:]
        rows, time, features = x.shape
        units = h_last.shape[1]
        vectors = -(-units // lanes_of(reals))
        stride = vectors * lanes_of(reals)
        plane = rows * stride
        state, index = aligned_start(reals), counters
        row_of = flat_from(integers, index)
        first_of = flat_from(integers, index + entries)
        count_of = flat_from(integers, index + 2 * entries)
        index += 3 * entries
        if slot >= 0 or members == 1:  # the caller: in a team it is a member once more, behind this
            for i in range(counters):
                integers[i] = 0
            seen = flat_from(integers, index)
            fault = rank_rows(row_of, first_of, count_of, seen, offsets, steps, order, time)
            if fault != 0:
                return -int(fault)
            _begin(
                flat(h_last),
                flat(c_last),
                flat_from(reals, state),
                flat_from(reals, state + 2 * plane),
                flat(h_first),
                flat(c_first),
                row_of,
                count_of,
                rows,
                units,
                c_last.shape[1] > 0,
            )
            if plane == 0 or offsets[rows] == 0:
                nothing = flat(out)
                for i in range(out.size):
                    nothing[i] = 0
                return 0
        if post(board, slot, integers, members, member):
            return int(withdraw(board, slot, member))
        arrive(integers, member)
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
            row_of,
            first_of,
            count_of,
            backwards != 0,
            zeros != 0,
        )
        z = state + 3 * plane
        blocks = z + members * z_size
        own_block = flat_from(reals, blocks + member * block_size)
        shared_block = flat_from(reals, blocks + members * block_size)
        index += INDEX_ROWS * member * entries
        scratch = Scratch(
            flat_from(reals, z + member * z_size),
            flat_from(integers, index),
            flat_from(integers, index + entries),
            flat_from(integers, index + 2 * entries),
            flat_from(integers, index + 3 * entries),
            flat_from(integers, index + 4 * entries),
            flat_from(integers, index + 5 * entries),
        )
        control = flat(integers)
        zero: Any = np.int64(0)  # of the other branch's type
        together = False
        while not together:
            group = atomic_add(control, NEXT_GROUP, 1)
            together = group >= groups
            if together:
                wait_for(control, GROUPS_DONE, groups)
                group, groups = zero, zero + 1
                team = Team(control, shared_block, member, members)
                k, end = join, count_of[0]
            else:
                team = Team(control, own_block, zero, zero + 1)
                k, end = zero, join
            net = Net(
                flat(packed),
                flat_from(reals, state),
                flat_from(reals, state + 2 * plane),
                count_panels(vectors, panel_vectors, team.members),
                vectors,
                plane,
                activation,
                recurrent_activation,
                1 if gates.shape[0] > 0 else 0,
            )
            taken = take_group(scratch, rows, group, groups, stride)
            advance(batch, net, scratch, team, taken, k, end)
            if not together:
                atomic_add(control, GROUPS_DONE, 1)
        if batch.sequences and count_of[rows - 1] < time and not is_to_leave(control, member):
            _share_masked(batch, control, rows, member)
        return int(withdraw(board, slot, member))

    @lru_cache(maxsize=256)
    def sizes(rows: int, features: int, units: int, dtype: Any, members: int) -> Sizes:
        vectors = vectors_of(units, dtype)
        panels, row = panels_of(vectors, cell.panel, members), cell.tiles.row * lanes(dtype)
        return Sizes(
            packed_size(cell.layout, features, units, dtype),
            state=3 * rows * vectors * lanes(dtype) + spare(dtype),
            z=rows * row,
            block=panels * max(2 * BLOCK_ROWS, rows if cell.rounds > 1 else 0) * row,
            entries=max(rows, 2 * BLOCK_ROWS),
        )

    return LayerKernel(cell, work, sizes)


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
    members = shares.members
    sizes = kernel.sizes(rows, features, units, dtype, members)
    if len(packed) != sizes.packed:
        raise ValueError(
            f"packed must come from {kernel.cell.name}_pack for {features} features, {units} units"
        )
    if len(saved[2]) and not len(saved[0]):
        raise ValueError("gates are saved only where h_steps are: give h_steps a row a step")
    blocks = members * sizes.z + (members + 1) * sizes.block
    reals = np.empty(sizes.state + blocks, dtype)
    counters = control_size(members)
    integers = np.empty(counters + (3 + members * INDEX_ROWS) * sizes.entries, np.int64)
    activation, recurrent_activation = CODES[activations[0]], CODES[activations[1]]
    work = kernel.work.for_dtype(dtype)
    # From here to the call nothing may fail: the slot would be lost.
    start = reserve(members, shares.patient)
    if start == ALONE:
        shares = ALONE_TO_THE_END
    settings = (
        *(activation, recurrent_activation, int(reverse), int(zero_masked)),
        *(counters, sizes.z, sizes.block, sizes.entries),
        *(shares.members, shares.groups, shares.join),
    )
    arguments = (*(out, *last, *saved, reals, integers, x, *plan, packed, *first), settings)
    done = run_shared(work, arguments, start, integers)
    if done < 0:
        raise_fault(-done)
