"""One call of a recurrent layer's time loop backwards: its memory, its threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ...memory import aligned_empty
from ..jit import array, compiled, inlined, output
from ..parallel.atomics import atomic_add
from ..parallel.barrier import GROUPS_DONE, NEXT_GROUP, Team, arrive, control_size, wait_for
from ..parallel.queue import LEFT, UNSHARED, submit
from ..parallel.run import reserve, run
from ..parallel.schedule import Schedule
from ..simd import flat, flat_from, lanes, lanes_of
from .activations import codes_of
from .backward import STRIP, Batch, Net, Scratch, retreat
from .cell_gradients import PANEL
from .gradients import Inputs
from .groups import Groups, deal, take_group
from .ranks import check_plan, length_of_rank

Array = NDArray[np.floating]
Ints = NDArray[np.int64]

ComputeGates = Callable[[Array, Inputs, Any], None]
"""Writes the gates of all valid steps, from the states before them and the call's arguments."""

INDEX_ROWS = 10  # index arrays of a thread, see `backward.Scratch`
_i8 = types.int64


class Cell(NamedTuple):
    """What the time loop has to know of a cell."""

    number: int  # as in `backward`
    first_gate: int  # of those in the first round's product
    parts: list[Array]  # (H, depth) each: the columns of the recurrent kernel for each round


class Settings(NamedTuple):
    """Plain numbers of a call; `Groups` stand behind them."""

    time: int
    cell: int  # from here on see `backward.Net`
    first_gate: int
    depth: int
    activation: int
    recurrent_activation: int
    reverse: int
    zero_masked: int
    threads: int
    join: int  # step from which on all threads share each step


_SETTINGS = len(Settings._fields)


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
    dh_first: Any,
    dc_first: Any,
    dout: Any,
    dh_last: Any,
    carry_last: Any,
    states: Any,
    first_states: Any,
    offsets: Any,
    steps: Any,
    order: Any,
    settings: Any,
) -> Any:
    return Batch(
        settings.time,
        dh_first.shape[1],
        gates.shape[1],
        dout.shape[1] > 0,
        flat(gates),
        flat(dh_first),
        flat(dc_first),
        flat(dout),
        flat(dh_last),
        flat(carry_last),
        flat(states),
        flat(first_states),
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


@inlined
def _run_groups(
    batch: Any,
    net: Any,
    scratch: Any,
    control: Any,
    settings: Any,
    groups: Any,
    rows: int,
    thread: int,
) -> None:
    """Run the common steps, on all threads; then groups of rows, each on one thread."""
    zero: Any = np.int64(0)  # of the other branch's type
    stride = -(-batch.units // lanes_of(scratch.z)) * lanes_of(scratch.z)
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
        taken = take_group(batch, scratch, groups, group, rows, thread, stride)
        if not retreat(batch, net, scratch, team, taken, k, end):
            return  # groups begin when the common steps are done
        if not common:
            atomic_add(control, GROUPS_DONE, 1)
        group, common = atomic_add(control, NEXT_GROUP, 1), False
    wait_for(control, GROUPS_DONE, own_groups)


@compiled(
    lambda t: _i8(
        *(output(t, 2), output(t, 2), output(t, 2), array(t, 3), array(t, 2), array(t, 2)),
        *(array(t, 2), array(t, 2), array(_i8, 1), array(_i8, 1), array(_i8, 1), array(t, 1)),
        *(output(t, 1), output(_i8, 1), output(_i8, 1)),
        types.UniTuple(_i8, _SETTINGS + len(Groups._fields)),
        *(output(_i8, 1), _i8, _i8),
    )
)
def _gate_gradients(
    gates: Any,
    dh_first: Any,
    dc_first: Any,
    dout: Any,
    dh_last: Any,
    carry_last: Any,
    states: Any,
    first_states: Any,
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
        dh_first,
        dc_first,
        dout,
        dh_last,
        carry_last,
        states,
        first_states,
        offsets,
        steps,
        order,
        settings,
    )
    width = PANEL * lanes_of(gates)
    net = Net(
        settings.cell,
        flat(packed),
        flat(memory),
        -(-batch.units // width),
        settings.first_gate,
        settings.depth,
        settings.activation,
        settings.recurrent_activation,
    )
    entries = max(groups.rows, groups.common)
    carried = -(-batch.units // lanes_of(gates)) * lanes_of(gates)  # of a row
    carried *= groups.common + settings.threads * groups.rows
    own_z = flat_from(memory, carried + thread * entries * width)
    scratch = _scratch_of(own_z, flat(indices), INDEX_ROWS * thread * entries, entries)
    ended = submit(queue, provider, control, settings.threads, thread)
    if ended != UNSHARED:
        return int(ended)
    counters = flat(control)
    arrive(counters, thread)
    _run_groups(batch, net, scratch, counters, settings, groups, dh_first.shape[0], thread)
    return LEFT


def gate_gradients(
    call: Any, cell: Cell, compute_gates: ComputeGates | None = None
) -> tuple[Inputs, Array]:
    """Turn a backward call's gates into their gradients, and write those of the first states.

    Args:
        call: the arguments of a backward kernel of the table.
        cell: which cell, and its recurrent weights.
        compute_gates: computes gates that were not saved; None for a cell whose states alone
            are enough.

    Returns:
        What the gates of the valid steps are functions of, and their gradients.

    Raises:
        ValueError: the plan is none.
    """
    offsets, time = call.offsets, call.x.shape[1]
    check_plan(offsets, call.steps, call.order, time)
    steps, gates = call.steps[: offsets[-1]], call.gates[: offsets[-1]]
    inputs = Inputs(call.x, call.h_first, call.h_steps, offsets, steps, call.reverse)
    if compute_gates is not None and not call.gates_saved:
        compute_gates(gates, inputs, call)
    if call.h_first.size:
        _run(call, cell, gates, (offsets, steps, call.order), time)
    return inputs, gates


def _run(call: Any, cell: Cell, gates: Array, plan: tuple[Ints, Ints, Ints], time: int) -> None:
    """Run the compiled kernel."""
    dh_first, dh_last = call.dh_first, call.dh_last
    dc_first, carry_last, states, first = dh_first[:, :0], dh_last, call.h_steps, call.h_first
    if hasattr(call, "c_first"):
        dc_first, carry_last, states = call.dc_first, call.dc_last, call.c_steps
        first = call.c_first
    (rows, units), dtype = dh_first.shape, gates.dtype
    depth = sum(part.shape[1] for part in cell.parts)
    schedule, provider = reserve(
        *(
            length_of_rank,
            (plan[0], plan[2]),
            rows,
            len(gates),
            0,
            units,
            depth // units,
            dtype.itemsize,
            call.threads,
        ),
    )
    groups, *scratch = _scratch(rows, units, dtype, schedule)
    control = np.zeros(control_size(schedule.threads), np.int64)
    numbers = (
        *(time, cell.number, cell.first_gate, cell.parts[0].shape[1], *codes_of(call)),
        *(int(call.reverse), int(call.zero_masked), schedule.threads, schedule.join, *groups),
    )
    arguments = (
        *(gates, dh_first, dc_first, call.dout, dh_last, carry_last, states, first),
        *(*plan, pack_transposed(cell.parts), *scratch, control, numbers),
    )
    run(_gate_gradients.for_dtype(dtype), arguments, provider, control)


def _scratch(rows: int, units: int, dtype: Any, schedule: Schedule) -> tuple[Groups, Array, Ints]:
    """How rows are dealt; memory for what is carried and then for sums, and for indices."""
    threads, width = schedule.threads, lanes(dtype)
    stride = -(-units // width) * width
    row_bytes = dtype.itemsize * (stride + PANEL * width) + 8 * INDEX_ROWS
    groups = deal(rows, schedule.groups, schedule.common, row_bytes)
    sums = threads * groups.most * PANEL * width
    return (
        groups,
        aligned_empty(groups.slots(threads) * stride + sums, dtype),
        np.empty(threads * INDEX_ROWS * groups.most, np.int64),
    )
