"""A recurrent layer's forward pass on the buffers of an XLA program."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import compiled
from ..rnn.groups import Groups
from ..rnn.layer import Settings, layer_signature
from ..rnn.transpose import address_of, pointer_at
from .entry import NUMBERS, find_variant, read_entry, read_variant
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


@compiled(call_signature)
def forward(view: Any, words: Any, inputs: Any, outputs: Any, state: Any) -> int:
    """See `backends.layer.forward_into`: the same plan, packing and kernel."""
    entry, base = read_entry(words), address_of(view, 0)
    rows, time, features, units = entry.rows, entry.time, entry.features, entry.units
    mask, first = data_of(inputs, 1), data_of(inputs, 2)
    offsets, steps, order = plan_steps(words, entry, base, mask)
    schedule, provider = reserve(entry, state, features, offsets, steps, order)
    chosen = find_variant(words, entry, schedule, 0)
    if address_of(chosen, 0) == address_of(words, 0):
        return UNKNOWN
    variant = read_variant(chosen)
    two = entry.states > 1
    kernel = 2 + entry.states
    bias = data_of(inputs, kernel + 2)
    if entry.bias_rows > 0:
        add_biases(entry, view, base + entry.bias, bias)
        bias = base + entry.bias
    packed = pack_weights(
        *(view, words, entry, base, data_of(inputs, kernel), data_of(inputs, kernel + 1), bias)
    )
    out, h_last = data_of(outputs, 0), data_of(outputs, 1)
    c_rows = rows if two else 0
    saved = len(steps) if entry.saves != 0 else 0
    h_steps = c_steps = gates = out
    if saved > 0:
        h_steps = data_of(outputs, 1 + entry.states)
        c_steps = data_of(outputs, 2 + entry.states) if two else out
        gates = data_of(outputs, 1 + 2 * entry.states) if entry.gates > 0 else out
    integers = array_at(words, base + entry.integers, (variant.integers,))
    queue = queue_of(state)
    ended = _run(
        view,
        entry.kernel,
        (
            array_at(view, out, (rows, 0 if entry.last != 0 else time, units)),
            array_at(view, h_last, (rows, units)),
            array_at(view, data_of(outputs, 2) if two else out, (c_rows, units)),
            array_at(view, h_steps, (saved, units)),
            array_at(view, c_steps, (saved if two else 0, units)),
            array_at(view, gates, (saved if entry.gates > 0 else 0, max(entry.gates, 1) * units)),
            array_at(view, data_of(inputs, 0), (rows, time, features)),
            offsets,
            steps,
            order,
            packed,
            array_at(view, first, (rows, units)),
            array_at(view, data_of(inputs, 3) if two else first, (c_rows, units)),
            array_at(view, base + entry.reals, (variant.reals,)),
            integers,
            _numbers(chosen, NUMBERS, schedule.join),
            queue,
            provider,
            0,
        ),
    )
    ended = ended_well(ended, queue, integers)
    if entry.last != 0:
        valid = array_at(np.bool_, mask, (rows, time))
        result, h = pointer_at(view, out), pointer_at(view, h_last)
        for row in range(rows):
            gone = is_gone(entry, valid, offsets, row)
            for i in range(row * units, (row + 1) * units):
                if gone:
                    result[i] = 0
                else:
                    result[i] = h[i]
    return int(ended)
