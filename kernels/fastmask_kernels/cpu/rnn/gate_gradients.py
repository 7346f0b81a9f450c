"""One call of a recurrent layer's time loop backwards: its memory, its threads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ...memory import aligned_empty
from ...spec import cell_kernels
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
from .columns import Columns, blocks_of
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


def parts_of(recurrent_kernel: Array, columns: Columns) -> list[Array]:
    """The columns of the recurrent kernel, in the order of z, for each product."""
    units = len(recurrent_kernel)
    parts = columns.at_once, *(each.column for each in columns.called)
    return [blocks_of(recurrent_kernel, part, units) for part in parts]


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


def time_loop_kernel(columns: Columns) -> CompiledKernel:
    """The compiled time loop of a cell: one thread's part of a call."""
    run_groups, planes = _group_loop(columns), columns.backward.planes
    cell = columns.cell
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
    def run_thread(
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
        batch = Batch(
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

    return run_thread


class Arrays(NamedTuple):
    """A call's arrays that there is one of for each state, or for each vector."""

    dfirst: tuple[Array, ...]
    dlast: tuple[Array, ...]
    states: tuple[Array, ...]
    first: tuple[Array, ...]
    vectors: tuple[Array, ...]  # something else, where there are none


class TimeLoop:
    """The time loop of a cell backwards."""

    def __init__(self, columns: Columns) -> None:
        cell = columns.cell
        self._columns, self._kernel = columns, time_loop_kernel(columns)
        forms = ("d{}_first", "d{}_last", "{}_steps", "{}_first")
        names = [form.format(state) for form in forms for state in cell.states]
        self._get = cell_kernels(cell).bwd.getter(*names, *(cell.vectors or ["bias"]))
        self._products = max(len(cell.recurrents), 1)

    def arrays(self, call: Any) -> Arrays:
        """Arrays of a call."""
        found, n = self._get(call), len(self._columns.cell.states)
        return Arrays(
            found[:n], found[n : 2 * n], found[2 * n : 3 * n], found[3 * n : 4 * n], found[4 * n :]
        )

    def run(self, call: Any, arrays: Arrays, gates: Array, plan: tuple[Ints, Ints, Ints]) -> None:
        """Turn what was saved of each step into gradients, and write those of the first states.

        Args:
            call: the arguments of a backward kernel.
            arrays: some of them.
            gates: the rows of `call.gates` that are steps.
            plan: offsets, steps without spare entries, order.
        """
        (rows, _, units), dtype, columns = call.dout.shape, gates.dtype, self._columns
        work = rows, len(gates), 0, units, self._products, dtype.itemsize
        schedule, provider = reserve(length_of_rank, (plan[0], plan[2]), *work, call.threads)
        groups, *scratch = _scratch(rows, units, columns.backward.planes, dtype, schedule)
        control = np.zeros(control_size(schedule.threads), np.int64)
        numbers = (
            *(call.x.shape[1], *codes_of(call), int(call.reverse), int(call.zero_masked)),
            *(schedule.threads, schedule.join, *groups),
        )
        packed = pack_transposed(parts_of(call.recurrent_kernel, columns))
        arguments = (
            *(gates, arrays.dfirst, call.dout, arrays.dlast, arrays.states, arrays.first),
            *(arrays.vectors, *plan, packed, *scratch, control, numbers),
        )
        run(self._kernel.for_dtype(dtype), arguments, provider, control)


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
