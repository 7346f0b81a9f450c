"""One call of a recurrent layer's time loop backwards: its memory, its threads."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ...cells import Cell
from ...cells.rounds import backward_of
from ...memory import aligned_empty
from ..jit import CompiledKernel, array, compiled, inlined, output
from ..parallel.atomics import atomic_add
from ..parallel.barrier import GROUPS_DONE, NEXT_GROUP, Team, arrive, control_size, wait_for
from ..parallel.queue import LEFT, UNSHARED, submit
from ..parallel.run import reserve, run
from ..parallel.schedule import Schedule
from ..simd import flat, flat_each, flat_from, lanes, lanes_of
from .activations import codes_of
from .backward import STRIP, Batch, Scratch, State, time_loop
from .cell_gradients import PANEL
from .columns import blocks_of, columns_of
from .groups import Groups, deal, take_group
from .ranks import length_of_rank

Array = NDArray[np.floating]
Ints = NDArray[np.int64]

INDEX_ROWS = 10  # index arrays of a thread, see `backward.Scratch`
_i8 = types.int64


class Settings(NamedTuple):
    """Plain numbers of a call; `Groups` stand behind them."""

    time: int
    activation: int
    recurrent_activation: int
    reverse: int
    zero_masked: int
    threads: int
    join: int  # step from which on all threads share each step


_SETTINGS = len(Settings._fields)


def parts_of(recurrent_kernel: Array, cell: Cell) -> list[Array]:
    """The columns of the recurrent kernel, in the order of z, for each product."""
    units, columns = len(recurrent_kernel), columns_of(cell)
    numbers = [columns.at_once, *([each.column] for each in columns.called)]
    return [blocks_of(recurrent_kernel, each, units) for each in numbers]


def pack_transposed(parts: list[Array]) -> Array:
    """U^T as the micro-kernel reads it: packed[part][panel][strip][row][unit].

    Args:
        parts: (H, depth) each: columns of the recurrent kernel, one part a round.
    """
    dtype, width = parts[0].dtype, STRIP * lanes(parts[0].dtype)
    units = len(parts[0])
    strips, full = panels_of(units, dtype) * (PANEL // STRIP), units // width
    packed = aligned_empty(sum(strips * width * part.shape[1] for part in parts), dtype)
    start = 0
    for part in parts:
        stop = start + strips * width * part.shape[1]
        blocks = packed[start:stop].reshape(strips, part.shape[1], width)
        start = stop
        whole, rest = part[: full * width], part[full * width :].T
        blocks[:full] = whole.reshape(full, width, part.shape[1]).transpose(0, 2, 1)
        blocks[full:] = 0
        blocks[full : full + 1, :, : rest.shape[1]] = rest
    return packed


def panels_of(units: int, dtype: Any) -> int:
    """Number of panels."""
    return -(-units // (PANEL * lanes(dtype)))


@inlined
def _batch_of(
    gates: Any,
    dfirst: Any,
    dout: Any,
    dlast: Any,
    states: Any,
    first: Any,
    vectors: Any,
    offsets: Any,
    steps: Any,
    order: Any,
    settings: Any,
) -> Any:
    return Batch(
        settings.time,
        dfirst[0].shape[1],
        gates.shape[1],
        dout.shape[1] > 0,
        flat(gates),
        flat_each(dfirst),
        flat(dout),
        flat_each(dlast),
        flat_each(states),
        flat_each(first),
        flat_each(vectors),
        flat(steps),
        flat(offsets),
        flat(order),
        settings.reverse != 0,
        settings.zero_masked != 0,
    )


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


def _group_loop(cell: Cell) -> Any:
    """`run_groups` of a cell, for its compiled kernel to call."""
    run_steps, planes = time_loop(cell), backward_of(cell).planes

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
    ) -> None:
        """Run the common steps, on all threads; then groups of rows, each on one thread."""
        zero: Any = np.int64(0)  # of the other branch's type
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
                return  # groups begin when the common steps are done
            if not common:
                atomic_add(control, GROUPS_DONE, 1)
            group, common = atomic_add(control, NEXT_GROUP, 1), False
        wait_for(control, GROUPS_DONE, own_groups)

    return run_groups


@cache
def backward_kernel(cell: Cell) -> CompiledKernel:
    """The compiled time loop of a cell: one thread's part of a call."""
    run_groups, planes = _group_loop(cell), backward_of(cell).planes
    states, vectors = len(cell.states), max(len(cell.vectors), 1)

    def signature(t: Any) -> Any:
        each = types.UniTuple(array(t, 2), states)
        return _i8(
            *(output(t, 2), types.UniTuple(output(t, 2), states), array(t, 3), each, each, each),
            *(types.UniTuple(array(t, 1), vectors), array(_i8, 1), array(_i8, 1), array(_i8, 1)),
            *(array(t, 1), output(t, 1), output(_i8, 1), output(_i8, 1)),
            types.UniTuple(_i8, _SETTINGS + len(Groups._fields)),
            *(output(_i8, 1), _i8, _i8),
        )

    @compiled(signature, f"{cell.name}-{cell.digest}")
    def gate_gradients(
        gates: Any,
        dfirst: Any,
        dout: Any,
        dlast: Any,
        states: Any,
        first: Any,
        vectors: Any,
        offsets: Any,
        steps: Any,
        order: Any,
        packed: Any,
        memory: Any,
        indices: Any,
        control: Any,
        numbers: Any,
        queue: Any,
        provider: int,
        thread: int,
    ) -> int:
        settings, groups = Settings(*numbers[:_SETTINGS]), Groups(*numbers[_SETTINGS:])
        batch = _batch_of(
            gates,
            dfirst,
            dout,
            dlast,
            states,
            first,
            vectors,
            offsets,
            steps,
            order,
            settings,
        )
        width = PANEL * lanes_of(gates)
        stride = -(-batch.units // lanes_of(gates)) * lanes_of(gates)
        state = State(
            flat(packed),
            -(-batch.units // width),
            flat(memory),
            stride,
            settings.activation,
            settings.recurrent_activation,
        )
        entries = max(groups.rows, groups.common)
        kept = stride * planes * (groups.common + settings.threads * groups.rows)
        own_z = flat_from(memory, kept + thread * entries * width)
        scratch = _scratch_of(own_z, flat(indices), INDEX_ROWS * thread * entries, entries)
        ended = submit(queue, provider, control, settings.threads, thread)
        if ended != UNSHARED:
            return int(ended)
        counters = flat(control)
        arrive(counters, thread)
        run_groups(batch, state, scratch, counters, settings, groups, len(order), thread)
        return LEFT

    return gate_gradients


def gate_gradients(call: Any, cell: Cell, gates: Array, plan: tuple[Ints, Ints, Ints]) -> None:
    """Turn what was saved of each step into gradients, and write those of the first states.

    Args:
        call: the arguments of a backward kernel.
        cell: which cell.
        gates: the rows of `call.gates` that are steps.
        plan: offsets, steps without spare entries, order.
    """

    def each(form: str) -> tuple[Array, ...]:
        return tuple(getattr(call, form.format(name)) for name in cell.states)

    (rows, units), dtype = call.dout.shape[::2], gates.dtype
    schedule, provider = reserve(
        *(
            length_of_rank,
            (plan[0], plan[2]),
            rows,
            len(gates),
            0,
            units,
            max(len(cell.recurrents), 1),
            dtype.itemsize,
            call.threads,
        ),
    )
    groups, *scratch = _scratch(rows, units, backward_of(cell).planes, dtype, schedule)
    control = np.zeros(control_size(schedule.threads), np.int64)
    numbers = (
        *(call.x.shape[1], *codes_of(call), int(call.reverse), int(call.zero_masked)),
        *(schedule.threads, schedule.join, *groups),
    )
    vectors = tuple(getattr(call, name) for name in cell.vectors)
    arguments = (
        *(gates, each("d{}_first"), call.dout, each("d{}_last"), each("{}_steps")),
        *(each("{}_first"), vectors or (call.bias,), *plan),
        *(pack_transposed(parts_of(call.recurrent_kernel, cell)), *scratch, control, numbers),
    )
    run(backward_kernel(cell).for_dtype(dtype), arguments, provider, control)


def _scratch(
    rows: int, units: int, planes: int, dtype: Any, schedule: Schedule
) -> tuple[Groups, Array, Ints]:
    """How rows are dealt; memory for planes and then for products, and for indices."""
    threads, width = schedule.threads, lanes(dtype)
    stride = -(-units // width) * width * planes
    row_bytes = dtype.itemsize * (stride + PANEL * width) + 8 * INDEX_ROWS
    groups = deal(rows, schedule.groups, schedule.common, row_bytes)
    products = threads * groups.most * PANEL * width
    return (
        groups,
        aligned_empty(groups.slots(threads) * stride + products, dtype),
        np.empty(threads * INDEX_ROWS * groups.most, np.int64),
    )
