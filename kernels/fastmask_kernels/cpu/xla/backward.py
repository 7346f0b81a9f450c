"""A recurrent layer's backward pass on the buffers of an XLA program."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import compiled, inner
from ..parallel.barrier import control_size
from ..rnn.gate_gradients import LOOP, PRODUCTS, Places, Settings, backward_signature
from ..rnn.groups import Groups
from ..rnn.step_products import WORDS
from ..rnn.transpose import address_of, pointer_at
from ..rnn.words import (
    DOUT,
    DX,
    DX_COLUMNS,
    FEATURES,
    GATES,
    GATES_WIDTH,
    INPUTS,
    ITEMS,
    OUTS,
    OUTS_BESIDE_VECTORS,
    RECURRENT,
    UNITS,
    X,
)
from .entry import NUMBERS, find_variant, read_entry, read_variant, variant_at
from .native import array_at, caller, numbers_at
from .steps import (
    DONE,
    UNKNOWN,
    call_signature,
    data_of,
    divide_biases,
    ended_well,
    evenly,
    is_gone,
    pack_weights,
    plan_steps,
    queue_of,
    reserve,
    reserve_even,
)

_COUNT = len(Settings._fields) + len(Groups._fields) + len(Places._fields)
_numbers = numbers_at(_COUNT, Settings._fields.index("join"))
_run = caller(backward_signature)
_control_size = inner(control_size)


@inner
def _last_gradient(
    view: Any, entry: Any, to: int, dlast: int, dout: int, mask: int, offsets: Any
) -> None:
    """Write the gradient of the last h: the state's, plus the output's unless that was zeroed."""
    valid = array_at(np.bool_, mask, (entry.rows, entry.time))
    made, first, other = pointer_at(view, to), pointer_at(view, dlast), pointer_at(view, dout)
    for row in range(entry.rows):
        gone = is_gone(entry, valid, offsets, row)
        for i in range(row * entry.units, (row + 1) * entry.units):
            made[i] = first[i] if gone else first[i] + other[i]


@inner
def _gates(view: Any, entry: Any, base: Any, inputs: Any, outputs: Any, valid: int) -> Any:
    """The address of the gates, which the kernel overwrites with dZ; or of workspace for dZ."""
    if entry.gates == 0:
        return base + entry.dz
    saved, room = data_of(inputs, 5 + 2 * entry.states), data_of(outputs, 4 + entry.states)
    if saved != room:
        source, target = pointer_at(view, saved), pointer_at(view, room)
        for i in range(valid * entry.gates * entry.units):
            target[i] = source[i]
    return room


@inner
def _write_arguments(words: Any, entry: Any, own: Any, inputs: Any, outputs: Any) -> None:
    """Write the kernel's arguments as words, see `rnn.words`.

    `own` has the addresses that need not be XLA's buffers: the gates, dout, U^T, W^T, and the
    gradients of the bias and of the last h.
    """
    gates, dout, recurrent, others, dbias, dlast = own
    states, columns = entry.states, entry.columns
    words[FEATURES], words[UNITS] = entry.features, entry.units
    words[GATES_WIDTH], words[DX_COLUMNS] = entry.gates_width, entry.inputs_width
    words[X], words[DX] = data_of(inputs, 0), data_of(outputs, 0)
    words[GATES], words[DOUT], words[RECURRENT], words[INPUTS] = gates, dout, recurrent, others
    outs = data_of(outputs, 1 + states), data_of(outputs, 2 + states), dbias
    for number, address in enumerate(outs):
        words[OUTS + 3 * number] = address
        words[OUTS + 3 * number + 1] = 0 if number == 2 else columns
        words[OUTS + 3 * number + 2] = 1
    place, last = OUTS + 3 * OUTS_BESIDE_VECTORS, 6 + 2 * states + (1 if entry.gates > 0 else 0)
    for state in range(states):
        each = pointer_at(words, address_of(words, place + state))
        each[0] = data_of(outputs, 1 + state)
        each[states] = data_of(inputs, last + state) if state > 0 else dlast
        each[2 * states] = data_of(inputs, 5 + states + state)
        each[3 * states] = data_of(inputs, 2 + state)
    words[place + 4 * states] = data_of(inputs, 4 + states)  # bias, as no cell here has vectors


@inner
def _call(
    view: Any, words: Any, entry: Any, plan: Any, shared: Any, phases: int, queue: Any
) -> int:
    """Run phases of the kernel on the threads of a schedule; see `BackwardPass`."""
    (schedule, provider), base = shared, address_of(view, 0)
    number = find_variant(words, entry, schedule, phases)
    if number < 0:
        return UNKNOWN
    chosen = variant_at(words, entry, number)
    variant = read_variant(chosen)
    size = OUTS + 3 * OUTS_BESIDE_VECTORS + 4 * entry.states + 1
    arguments = array_at(words, base + entry.arguments, (size,))
    arguments[ITEMS] = variant.items_size // WORDS
    control = array_at(words, base + entry.control, (_control_size(schedule.threads),))
    control[:] = 0
    offsets, steps, order = plan
    ended = _run(
        view,
        entry.kernel,
        (
            offsets,
            steps,
            order,
            arguments,
            array_at(words, variant.items, (variant.items_size,)),
            array_at(view, base + entry.reals, (variant.reals,)),
            array_at(words, base + entry.integers, (variant.integers,)),
            control,
            _numbers(chosen, NUMBERS, schedule.join),
            queue,
            provider,
            0,
        ),
    )
    return int(ended_well(ended, queue, control))


@compiled(call_signature)
def backward(view: Any, words: Any, inputs: Any, outputs: Any, state: Any) -> int:
    """What `backends.layer.backward_into` does, with the same plan, packing and kernel."""
    entry, base, queue = read_entry(words), address_of(view, 0), queue_of(state)
    states, mask = entry.states, data_of(inputs, 1)
    plan = plan_steps(words, entry, base, mask)
    offsets, steps, order = plan
    dout_place = 5 + 2 * states + (1 if entry.gates > 0 else 0)
    dout, dlast = data_of(inputs, dout_place), data_of(inputs, dout_place + 1)
    if entry.last != 0:
        _last_gradient(view, entry, base + entry.dlast, dlast, dout, mask, offsets)
        dout, dlast = 0, base + entry.dlast
    weights = data_of(inputs, 2 + states), data_of(inputs, 3 + states), data_of(inputs, 4 + states)
    recurrent = address_of(pack_weights(view, words, entry, base, *weights), 0)
    others = recurrent + entry.recurrent_size * entry.weight_bytes
    dbias = base + entry.bias if entry.bias_rows > 0 else data_of(outputs, 3 + states)
    gates = _gates(view, entry, base, inputs, outputs, len(steps))
    own = gates, dout, recurrent, others, dbias, dlast
    _write_arguments(pointer_at(words, base + entry.arguments), entry, own, inputs, outputs)
    shared = reserve(entry, state, 0, offsets, steps, order)
    phases, ended = LOOP + PRODUCTS, DONE
    if shared[0].threads == 1 and entry.threads > 1:
        work = entry.work * len(steps)
        if evenly(work, entry.threads).threads > 1:
            ended = _call(view, words, entry, plan, shared, LOOP, queue)
            shared, phases = reserve_even(entry, state, work), PRODUCTS
    if ended == DONE:
        ended = _call(view, words, entry, plan, shared, phases, queue)
    if entry.bias_rows > 0:
        divide_biases(entry, view, data_of(outputs, 3 + states), dbias)
    return int(ended)
