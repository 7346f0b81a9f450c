"""A recurrent layer's forward pass on the buffers of an XLA program."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import compiled, inner
from ..rnn.groups import Groups
from ..rnn.layer import Settings, layer_signature
from ..rnn.transpose import address_of, pointer_at
from .entry import NUMBERS, find_variant, read_entry, read_variant, variant_at
from .native import array_at, caller, numbers_at
from .steps import (
    UNKNOWN,
    add_biases,
    call_signature,
    data_of,
    ended_well,
    is_gone,
    pack_weights,
    plan_steps,
    queue_of,
    reserve,
)

_COUNT = len(Settings._fields) + len(Groups._fields)
_numbers = numbers_at(_COUNT, Settings._fields.index("join"))
_run = caller(lambda t: layer_signature(False, t))


@inner
def _packed(view: Any, words: Any, entry: Any, inputs: Any) -> Any:
    """Pack the weights, the inputs after the states, for the kernel."""
    base, first = address_of(view, 0), 2 + entry.states
    bias = data_of(inputs, first + 2)
    if entry.bias_rows > 0:
        add_biases(entry, view, base + entry.bias, bias)
        bias = base + entry.bias
    kernel, recurrent = data_of(inputs, first), data_of(inputs, first + 1)
    return pack_weights(view, words, entry, base, kernel, recurrent, bias)


@inner
def _saved(view: Any, entry: Any, outputs: Any, steps: int) -> Any:
    """The arrays for what forward saves at each step: h, the other state, the gates."""
    units, states, other = entry.units, entry.states, entry.states > 1
    rows = steps if entry.saves != 0 else 0
    h = other_state = gates = data_of(outputs, 0)  # any address: the arrays have no rows
    if entry.saves != 0:
        h = data_of(outputs, 1 + states)
        other_state = data_of(outputs, 2 + states) if other else h
        gates = data_of(outputs, 1 + 2 * states) if entry.gates > 0 else h
    return (
        array_at(view, h, (rows, units)),
        array_at(view, other_state, (rows if other else 0, units)),
        array_at(view, gates, (rows if entry.gates > 0 else 0, max(entry.gates, 1) * units)),
    )


@inner
def _write_last_output(
    view: Any, entry: Any, out: int, h_last: int, mask: int, offsets: Any
) -> None:
    """Write the last output: the last h, or zeros, see `is_gone`."""
    rows, time, units = entry.rows, entry.time, entry.units
    valid = array_at(np.bool_, mask, (rows, time))
    result, h = pointer_at(view, out), pointer_at(view, h_last)
    for row in range(rows):
        gone = is_gone(entry, valid, offsets, row)
        for i in range(row * units, (row + 1) * units):
            if gone:
                result[i] = 0
            else:
                result[i] = h[i]


@compiled(call_signature)
def forward(view: Any, words: Any, inputs: Any, outputs: Any, state: Any) -> int:
    """What `backends.layer.forward_into` does, with the same plan, packing and kernel."""
    entry, base = read_entry(words), address_of(view, 0)
    rows, time, features, units = entry.rows, entry.time, entry.features, entry.units
    mask, other = data_of(inputs, 1), entry.states > 1
    offsets, steps, order = plan_steps(words, entry, base, mask)
    packed = _packed(view, words, entry, inputs)
    # Last: a worker that is woken listens for 0.2 ms, and to pack large weights takes longer.
    schedule, provider = reserve(entry, state, features, offsets, steps, order)
    number = find_variant(words, entry, schedule, 0)
    if number < 0:
        return UNKNOWN
    chosen = variant_at(words, entry, number)
    variant = read_variant(chosen)
    h_steps, other_steps, gates = _saved(view, entry, outputs, len(steps))
    out, h_last, h_first = data_of(outputs, 0), data_of(outputs, 1), data_of(inputs, 2)
    integers = array_at(words, base + entry.integers, (variant.integers,))
    queue = queue_of(state)
    ended = _run(
        view,
        entry.kernel,
        (
            array_at(view, out, (rows, 0 if entry.last != 0 else time, units)),
            array_at(view, h_last, (rows, units)),
            array_at(view, data_of(outputs, 2) if other else out, (rows if other else 0, units)),
            h_steps,
            other_steps,
            gates,
            array_at(view, data_of(inputs, 0), (rows, time, features)),
            offsets,
            steps,
            order,
            packed,
            array_at(view, h_first, (rows, units)),
            array_at(view, data_of(inputs, 3), (rows if other else 0, units)),
            array_at(view, base + entry.reals, (variant.reals,)),
            integers,
            _numbers(chosen, NUMBERS, schedule.join),
            queue,
            provider,
            0,
        ),
    )
    if entry.last != 0:
        _write_last_output(view, entry, out, h_last, mask, offsets)
    return int(ended_well(ended, queue, integers))
