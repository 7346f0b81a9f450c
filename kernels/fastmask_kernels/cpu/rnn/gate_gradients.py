"""The compiled backward pass of a cell: one thread's part of a call.

The time loop turns what was saved of each step into gradients of its sums (see `backward`); the
rest follows from these (see `step_products`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from ...cells import Cell
from ..jit import CompiledKernel, array, compiled, inlined, output
from ..parallel.atomics import atomic_add
from ..parallel.barrier import GROUPS_DONE, NEXT_GROUP, Team, arrive, wait_for
from ..parallel.queue import LEFT, UNSHARED, submit
from ..simd import flat, flat_from, lanes_of
from .backward import Batch, Scratch, State, time_loop
from .cell_gradients import PANEL
from .columns import Columns
from .groups import Groups, take_group
from .ranks import find_fault
from .step_products import INDICES, run_products
from .transpose import pointer_at, pointers_at
from .words import DOUT, GATES, GATES_WIDTH, INPUTS, RECURRENT, UNITS, states_begin

INDEX_ROWS = 10  # index arrays of a thread, see `backward.Scratch`
LOOP, PRODUCTS = 1, 2  # parts of a call
_i8 = types.int64


class Settings(NamedTuple):
    """Plain numbers of a call; those of `Groups` and `Places` follow them."""

    time: int
    activation: int
    recurrent_activation: int
    reverse: int
    zero_masked: int
    threads: int
    join: int  # step from which on all threads share each step
    parts: int  # LOOP, PRODUCTS or their sum


_SETTINGS = len(Settings._fields)


class Places(NamedTuple):
    """Where parts of a call's scratch memory begin, after the planes."""

    z: int  # the first thread's products with U^T
    own_z: int  # from one thread's to the next
    products: int  # the first thread's memory for `step_products`
    own_products: int  # from one thread's to the next


_NUMBERS = _SETTINGS + len(Groups._fields)


@inlined
def _scratch_of(z: Any, indices: Any, index: int, entries: int) -> Any:
    return Scratch(
        z,
        flat_from(indices, index),
        flat_from(indices, index + entries),
        flat_from(indices, index + 2 * entries),
        flat_from(indices, index + 3 * entries),
        flat_from(indices, index + 4 * entries),
        flat_from(indices, index + 5 * entries),
        flat_from(indices, index + 6 * entries),
        flat_from(indices, index + 7 * entries),
        flat_from(indices, index + 8 * entries),
        flat_from(indices, index + 9 * entries),
    )


def _group_loop(columns: Columns) -> Any:
    """`run_groups` of a cell, for its compiled kernel to call."""
    run_steps, planes = time_loop(columns), columns.backward.planes

    @inlined
    def run_groups(
        batch: Any,
        state: Any,
        scratch: Any,
        control: Any,
        settings: Any,
        groups: Any,
        rows: int,
        thread: int,
    ) -> bool:
        """Run the common steps, on all threads; then groups of rows, each on one thread.

        Returns False if this thread left the others before the end.
        """
        zero: Any = np.int64(0)  # an int64, as in the other branch
        longest = batch.offsets[batch.order[0] + 1] - batch.offsets[batch.order[0]]
        join = min(settings.join, longest)
        own_groups = groups.number if groups.rows > 0 else zero
        group, common = groups.number, True
        while group < own_groups or common:
            if common:
                team = Team(control, scratch.z, thread, settings.threads)
                k, end = longest, join if groups.rows > 0 else zero - 1
            else:
                team = Team(control, scratch.z, zero, zero + 1)
                k, end = join, zero - 1
            taken = take_group(batch, scratch, groups, group, rows, thread, planes * state.stride)
            if not run_steps(batch, state, scratch, team, taken, k, end):
                return False  # groups begin when the common steps are done
            if not common:
                atomic_add(control, GROUPS_DONE, 1)
            group, common = atomic_add(control, NEXT_GROUP, 1), False
        wait_for(control, GROUPS_DONE, own_groups)
        return True

    return run_groups


def _batch_of(cell: Cell) -> Any:
    """`batch_of` of a cell, for its compiled kernel to call."""
    states, begin = len(cell.states), states_begin(cell)
    of_states, of_vectors = pointers_at(states), pointers_at(max(len(cell.vectors), 1))

    @inlined
    def batch_of(
        words: Any, memory: Any, offsets: Any, steps: Any, order: Any, settings: Any
    ) -> Any:
        return Batch(
            settings.time,
            words[UNITS],
            words[GATES_WIDTH],
            words[DOUT] != 0,
            pointer_at(memory, words[GATES]),
            of_states(memory, words, begin),
            pointer_at(memory, words[DOUT]),
            of_states(memory, words, begin + states),
            of_states(memory, words, begin + 2 * states),
            of_states(memory, words, begin + 3 * states),
            of_vectors(memory, words, begin + 4 * states),
            flat(steps),
            flat(offsets),
            flat(order),
            settings.reverse != 0,
            settings.zero_masked != 0,
        )

    return batch_of


def backward_signature(t: Any) -> Any:
    """That of every cell's kernel."""
    return _i8(
        *(array(_i8, 1), array(_i8, 1), array(_i8, 1), array(_i8, 1), array(_i8, 1)),
        *(output(t, 1), output(_i8, 1), output(_i8, 1)),
        types.UniTuple(_i8, _NUMBERS + len(Places._fields)),
        *(output(_i8, 1), _i8, _i8),
    )


def backward_kernel(columns: Columns) -> CompiledKernel:
    """The compiled backward pass of a cell: one thread's part of a call."""
    run_groups, cell = _group_loop(columns), columns.cell
    batch_of = _batch_of(cell)

    @compiled(backward_signature, f"{cell.name}-{cell.digest}")
    def run_thread(
        offsets: Any,
        steps: Any,
        order: Any,
        words: Any,
        items: Any,
        memory: Any,
        indices: Any,
        control: Any,
        numbers: Any,
        queue: Any,
        provider: int,
        thread: int,
    ) -> int:
        settings, groups = Settings(*numbers[:_SETTINGS]), Groups(*numbers[_SETTINGS:_NUMBERS])
        places = Places(*numbers[_NUMBERS:])
        rows, threads = len(order), settings.threads
        begins, entries = settings.parts & LOOP != 0, max(groups.rows, groups.common)
        if begins and (provider >= 0 or threads == 1):  # the caller, before it runs as thread 0
            fault = find_fault(offsets, steps, order, settings.time, indices, len(indices))
            if fault != 0:
                return -int(fault)
        batch = batch_of(flat(words), memory, offsets, steps, order, settings)
        lanes, units = lanes_of(memory), batch.units
        state = State(
            pointer_at(memory, words[RECURRENT]),
            -(-units // (PANEL * lanes)),
            flat(memory),
            -(-units // lanes) * lanes,
            settings.activation,
            settings.recurrent_activation,
        )
        own_z = flat_from(memory, places.z + thread * places.own_z)
        own_indices = flat_from(indices, thread * (INDEX_ROWS * entries + INDICES))
        scratch = _scratch_of(own_z, own_indices, np.int64(0), entries)
        ended = submit(queue, provider, control, threads, thread)
        if ended != UNSHARED:
            return int(ended)
        counters = flat(control)
        arrive(counters, thread)
        finished = True
        if begins and rows > 0 and units > 0:
            finished = run_groups(batch, state, scratch, counters, settings, groups, rows, thread)
        if finished and settings.parts & PRODUCTS != 0:
            run_products(
                *(batch, flat(words), flat(items), counters, rows, thread),
                pointer_at(memory, words[INPUTS]),
                flat_from(memory, places.products + thread * places.own_products),
                flat_from(own_indices, INDEX_ROWS * entries),
            )
        return LEFT

    return run_thread
