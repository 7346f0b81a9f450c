"""Steps common to forward and backward: plan of the mask, threads, weights, masked rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from ...xla import DATA
from ..jit import inner
from ..masks import plan_signature
from ..parallel.queue import ALONE, LEFT, STILL_INSIDE, settle
from ..parallel.schedule import ONE_THREAD, even_schedule, make_schedule
from ..parallel.workers import find_workers
from ..rnn.packs import pack_signature
from ..rnn.ranks import length_of_rank
from ..rnn.transpose import pointer_at
from .entry import QUEUE, QUEUE_SIZE
from .native import WORDS, array_at, caller

_i8 = types.int64
UNKNOWN, DONE, FAILED = 1, 0, 2  # how a call ends: Python has to compute it, done, or an error

_make_plan, _pack = caller(plan_signature), caller(pack_signature)
_shared, evenly = inner(make_schedule), inner(even_schedule)
_length = inner(length_of_rank)
# `make_schedule` is given this function itself; a compiled one would be passed as an address.
overload(length_of_rank)(lambda plan, rank: lambda plan, rank: _length(plan, rank))


def call_signature(t: Any) -> Any:
    """The signature of `forward` and `backward`: workspace, entry, inputs, outputs and state."""
    return _i8(types.CPointer(t), WORDS, WORDS, WORDS, WORDS)


@inner
def data_of(buffers: Any, number: int) -> int:
    """The address of the data of an input or an output."""
    return int(pointer_at(buffers, buffers[number])[DATA])


@inner
def plan_steps(words: Any, entry: Any, base: int, mask: int) -> Any:
    """Make the plan of the mask at an address: offsets, steps and order."""
    rows, time = entry.rows, entry.time
    offsets = array_at(words, base + entry.offsets, (rows + 1,))
    steps = array_at(words, base + entry.steps, (rows * time,))
    order = array_at(words, base + entry.order, (rows,))
    if entry.masked != 0:
        starts = array_at(words, base + entry.starts, (time + 1,))
        starts[:] = 0
        valid = array_at(np.bool_, mask, (rows, time))
        _make_plan(words, entry.plan, (offsets, steps, order, valid, starts))
    else:
        for step in range(rows * time):
            steps[step] = step
        for row in range(rows):
            offsets[row], order[row] = row * time, row
        offsets[rows] = rows * time
    return offsets, array_at(words, base + entry.steps, (offsets[rows],)), order


@inner
def pack_weights(
    view: Any, words: Any, entry: Any, base: int, kernel: int, recurrent: int, bias: int
) -> Any:
    """Pack the weights at three addresses for the kernels."""
    packed = array_at(view, base + entry.packed, (entry.packed_size,))
    matrices = array_at(words, base + entry.arguments, (9,))
    for number, address in enumerate((kernel, recurrent, bias)):
        matrices[3 * number] = address
        matrices[3 * number + 1] = entry.columns
        matrices[3 * number + 2] = 1
    table = array_at(words, entry.table, (entry.table_size,))
    _pack(view, entry.pack, (packed, table, matrices, entry.units, entry.parts))
    return packed


@inner
def queue_of(state: Any) -> Any:
    """The pool's queue."""
    return array_at(state, state[QUEUE], (state[QUEUE_SIZE],))


@inner
def _provided(schedule: Any, state: Any) -> Any:
    """The schedule, ONE_THREAD if no other thread would come, and who provides the threads."""
    provider = ALONE
    if schedule.threads > 1:
        provider = find_workers(queue_of(state), schedule.threads - 1, schedule.patient)
    if provider == ALONE:
        schedule = ONE_THREAD
    return schedule, provider


@inner
def reserve(entry: Any, state: Any, features: int, offsets: Any, steps: Any, order: Any) -> Any:
    """See `parallel.run.reserve`."""
    schedule = _shared(
        length_of_rank,
        (offsets, order),
        entry.rows,
        len(steps),
        features,
        entry.units,
        entry.products,
        entry.weight_bytes,
        entry.threads,
    )
    return _provided(schedule, state)


@inner
def reserve_even(entry: Any, state: Any, work: int) -> Any:
    """See `parallel.run.reserve_even`."""
    return _provided(evenly(work, entry.threads), state)


@inner
def ended_well(ended: int, queue: Any, control: Any) -> int:
    """How a kernel ended; waits for workers still inside, because XLA may free the arrays next."""
    if ended == LEFT:
        return DONE
    settle(queue, control)
    return DONE if ended == STILL_INSIDE else FAILED


@inner
def is_gone(entry: Any, valid: Any, offsets: Any, row: int) -> bool:
    """Whether a row's last output is zero: no step is valid, or the last is masked and zeroed."""
    if entry.zero_masked != 0 and entry.masked != 0:
        return not valid[row, 0 if entry.reverse != 0 else entry.time - 1]
    return bool(offsets[row + 1] == offsets[row])


@inner
def add_biases(entry: Any, view: Any, to: int, given: int) -> None:
    """Write a GRU's bias, given in one row or in two, as `gru_weights` makes it."""
    units, bias, made = entry.units, pointer_at(view, given), pointer_at(view, to)
    two = entry.bias_rows == 2
    second = 3 * units
    if not two:
        for i in range(second):
            made[i] = bias[i] + 0  # turns -0 into 0, as adding a second row of zeros does
        return
    for i in range(2 * units):
        made[i] = bias[i] + bias[second + i]
    for i in range(2 * units, second):
        made[i] = bias[i]
        made[units + i] = bias[second + i]


@inner
def divide_biases(entry: Any, view: Any, to: int, given: int) -> None:
    """Write the gradient of a GRU's bias, as the kernel returns it, in one row or in two."""
    units, made, rows = entry.units, pointer_at(view, given), pointer_at(view, to)
    for i in range(3 * units):
        rows[i] = made[i]
        if entry.bias_rows == 2:
            rows[3 * units + i] = made[i if i < 2 * units else i + units]
