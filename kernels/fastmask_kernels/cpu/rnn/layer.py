"""The compiled forward kernel of a recurrent layer: one thread's part of a call."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import types

from ..jit import CompiledKernel, array, compiled, inlined, inner, output
from ..parallel.atomics import atomic_add
from ..parallel.barrier import (
    GROUPS_DONE,
    NEXT_GROUP,
    NEXT_ROW,
    ROWS_DONE,
    Team,
    arrive,
    is_to_leave,
    wait_for,
)
from ..parallel.queue import LEFT, UNSHARED, submit
from ..simd import aligned_start, flat, flat_from, lanes_of
from .batch import RAGGED, Batch, begin_rows, clear, copy_all, fill_masked, scratch_of
from .cell_code import CellCode
from .forward import time_loop
from .groups import Groups, take_group
from .panels import Layer, count_panels
from .ranks import find_fault
from .sizes import INDEX_ROWS

ROWS_OF_A_CHUNK = 8  # rows whose masked outputs a thread writes at a time
_i8 = types.int64


class Settings(NamedTuple):
    """Plain numbers of a call; those of `Groups` follow them."""

    activation: int
    recurrent_activation: int
    reverse: int
    zero_masked: int
    bounded: int  # see `panels.Layer`
    threads: int
    join: int  # step from which on all threads share each step
    counters: int  # of `barrier`, the first integers; for these and all below see `sizes`
    seen: int
    z: int
    operands: int
    block: int
    entries: int


_SETTINGS = len(Settings._fields)


class Memory(NamedTuple):
    """What a thread reads and writes besides its batch and its scratch memory."""

    packed: Any
    h_first: Any
    others_first: Any
    states: Any  # see `panels.Layer`
    plane: int  # see `panels.Layer`
    own_block: Any  # sums of a block of steps of the thread's own group
    common_block: Any  # the same for the common steps
    control: Any  # the threads' counters


@inner
def _begin(settings: Any, integers: Any, offsets: Any, steps: Any, order: Any, time: int) -> int:
    """Reset the counters, give the caller the first group, and return the plan's fault."""
    for i in range(settings.counters):
        integers[i] = 0
    integers[NEXT_GROUP] = 1
    seen = flat_from(integers, settings.counters)
    return int(find_fault(offsets, steps, order, time, seen, settings.seen))


def _inputs_of(code: CellCode) -> Any:
    """`inputs_of` for a cell: it returns time, features, x or the table, and the table's ids."""

    @inlined
    def time_of(x: Any, rows: int) -> int:
        """T, or RAGGED if the rows are concatenated."""
        return int(x.shape[1] if x.shape[0] == rows else RAGGED)

    if code.gathered:

        @inlined
        def of_table(x: Any, steps: Any, rows: int) -> Any:
            table, ids = x
            return time_of(ids, rows), table.shape[1], flat(table), flat(ids)

        return of_table

    @inlined
    def of_array(x: Any, steps: Any, rows: int) -> Any:
        return time_of(x, rows), x.shape[2], flat(x), flat(steps)

    return of_array


@inlined
def _batch_of(
    out: Any,
    h_last: Any,
    others_last: Any,
    h_steps: Any,
    others_steps: Any,
    gates: Any,
    inputs: Any,
    offsets: Any,
    steps: Any,
    order: Any,
    settings: Any,
) -> Any:
    time, features, x, ids = inputs
    rows = len(order)
    return Batch(
        rows,
        time,
        features,
        h_last.shape[1],
        out.shape[1] > 0,
        others_last.shape[0] // max(rows, 1),
        h_steps.shape[0] > 0,
        gates.shape[0] > 0,
        gates.shape[1] // h_last.shape[1],
        flat(out),
        flat(h_last),
        flat(others_last),
        flat(h_steps),
        flat(others_steps),
        flat(gates),
        x,
        ids,
        len(steps),
        flat(steps),
        flat(offsets),
        flat(order),
        settings.reverse != 0,
        settings.zero_masked != 0,
    )


@inner
def _fill_masked_rows(batch: Any, control: Any, rows: int, thread: int) -> None:
    """Write the masked outputs of all rows, a few rows a thread at a time."""
    row = 0
    while row < rows:
        row = atomic_add(control, NEXT_ROW, ROWS_OF_A_CHUNK)
        for i in range(row, min(row + ROWS_OF_A_CHUNK, rows)):
            fill_masked(batch, i)
        atomic_add(control, ROWS_DONE, ROWS_OF_A_CHUNK if row < rows else 0)
    if thread == 0:
        wait_for(control, ROWS_DONE, rows)


def _group_loop(code: CellCode) -> Any:
    """`run_groups` for a cell, for compiled kernels to call."""
    run_steps = time_loop(code)
    panel_vectors = code.panel

    @inlined
    def run_groups(
        batch: Any, scratch: Any, memory: Any, settings: Any, groups: Any, rows: int, thread: int
    ) -> None:
        """Run groups of rows, each on one thread; then the common steps, on all threads."""
        zero: Any = np.int64(0)  # an int64, as in the other branch
        vectors = -(-batch.units // lanes_of(scratch.z))
        control, longest = memory.control, batch.order[0]
        group = zero if thread == 0 else atomic_add(control, NEXT_GROUP, 1)
        while True:
            common = group >= groups.number
            if common:
                wait_for(control, GROUPS_DONE, groups.number)
                team = Team(control, memory.common_block, thread, settings.threads)
                k, end = settings.join, batch.offsets[longest + 1] - batch.offsets[longest]
            else:
                team = Team(control, memory.own_block, zero, zero + 1)
                k, end = zero, settings.join
            layer = Layer(
                memory.packed,
                memory.states,
                count_panels(vectors, panel_vectors, team.threads),
                vectors,
                memory.plane,
                settings.activation,
                settings.recurrent_activation,
                1 if batch.save_gates else 0,
                settings.bounded,
            )
            stride = vectors * lanes_of(scratch.z)
            taken = take_group(batch, scratch, groups, group, rows, thread, stride)
            if not common:
                begin_rows(batch, layer, scratch, taken, memory.h_first, memory.others_first)
            run_steps(batch, layer, scratch, team, taken, k, end)
            if common:
                break
            atomic_add(control, GROUPS_DONE, 1)
            group = atomic_add(control, NEXT_GROUP, 1)

    return run_groups


def layer_signature(gathered: bool, t: Any) -> Any:
    """That of every cell's kernel."""
    x = types.Tuple((array(t, 2), array(_i8, 2))) if gathered else array(t, 3)
    return _i8(
        *(output(t, 3), output(t, 2), output(t, 2), output(t, 2), output(t, 2), output(t, 2)),
        *(x, array(_i8, 1), array(_i8, 1), array(_i8, 1), array(t, 1)),
        *(array(t, 2), array(t, 2), output(t, 1), output(_i8, 1)),
        types.UniTuple(_i8, _SETTINGS + len(Groups._fields)),
        *(output(_i8, 1), _i8, _i8),
    )


def compile_layer(code: CellCode) -> CompiledKernel:
    """The kernel of a cell: one thread's part of a call."""
    run_groups, planes, inputs_of = _group_loop(code), code.planes, _inputs_of(code)

    @compiled(partial(layer_signature, code.gathered), code.name)
    def layer(
        out: Any,
        h_last: Any,
        others_last: Any,
        h_steps: Any,
        others_steps: Any,
        gates: Any,
        x: Any,
        offsets: Any,
        steps: Any,
        order: Any,
        packed: Any,
        h_first: Any,
        others_first: Any,
        reals: Any,
        integers: Any,
        numbers: Any,  # a plain tuple: a named one makes calls 2 us slower
        queue: Any,
        provider: int,
        thread: int,
    ) -> int:
        """Run the time loops, then fill in the masked outputs."""
        settings, groups = Settings(*numbers[:_SETTINGS]), Groups(*numbers[_SETTINGS:])
        rows = len(order)
        threads, inputs = settings.threads, inputs_of(x, steps, rows)
        time = inputs[0]
        stride = -(-h_last.shape[1] // lanes_of(reals)) * lanes_of(reals)
        if provider >= 0 or threads == 1:  # the caller, before it runs as thread 0
            fault = _begin(settings, integers, offsets, steps, order, time)
            if fault != 0:
                return -int(fault)
            if stride == 0 or offsets[rows] == 0:
                clear(out)
                copy_all(h_last, h_first)
                copy_all(others_last, others_first)
                return 0
        batch = _batch_of(
            *(out, h_last, others_last, h_steps, others_steps, gates),
            *(inputs, offsets, steps, order, settings),
        )
        plane = (groups.common + threads * groups.rows) * stride
        state = aligned_start(reals)
        z = state + planes * plane
        blocks = z + threads * settings.z
        index = settings.counters + settings.seen + INDEX_ROWS * thread * settings.entries
        own = z + thread * settings.z
        operands = flat_from(reals, own + settings.z - settings.operands)
        scratch = scratch_of(
            flat_from(reals, own), operands, flat(integers), index, settings.entries
        )
        memory = Memory(
            flat(packed),
            flat(h_first),
            flat(others_first),
            flat_from(reals, state),
            plane,
            flat_from(reals, blocks + thread * settings.block),
            flat_from(reals, blocks + threads * settings.block),
            flat(integers),
        )
        ended = submit(queue, provider, integers, threads, thread)
        if ended != UNSHARED:
            return int(ended)
        arrive(memory.control, thread)
        run_groups(batch, scratch, memory, settings, groups, rows, thread)
        shortest = offsets[order[rows - 1] + 1] - offsets[order[rows - 1]]
        if batch.sequences and shortest < time and not is_to_leave(memory.control, thread):
            _fill_masked_rows(batch, memory.control, rows, thread)
        return LEFT

    return layer
