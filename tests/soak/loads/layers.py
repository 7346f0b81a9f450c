"""The recurrent layers, with random weights, alone and nested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import fastmask as fm

from ...cases import RecurrentCase
from ...recurrent_layers import OwnLSTM
from ..cases import expected_of, flag, forward, pick, recurrent
from ..problem import Array, Problem, Random, load

L = fm.layers
KINDS: dict[str, Any] = {"lstm": L.LSTM, "gru": L.GRU, "rnn": L.SimpleRNN}
CELLS: dict[str, Any] = {"lstm": L.LSTMCell, "gru": L.GRUCell, "rnn": L.SimpleRNNCell}


def weights_of(case: RecurrentCase) -> list[Array]:
    """The weights as a layer has them: a GRU with `reset_after=False` has one bias."""
    kernel, recurrent_kernel, bias = case.weights
    if not getattr(case, "reset_after", True):
        bias = bias.sum(axis=0)
    return [kernel, recurrent_kernel, bias]


def cell_options(case: RecurrentCase) -> dict[str, Any]:
    """The arguments of a cell."""
    options: dict[str, Any] = {"activation": case.activation, "dtype": case.dtype}
    options["recurrent_initializer"] = "zeros"  # the default takes long, and is overwritten
    if case.cell != "rnn":
        options["recurrent_activation"] = case.recurrent_activation
    if case.cell == "gru":
        options["reset_after"] = case.reset_after  # type: ignore[attr-defined]  # a GRUCase
    return options


def layer_of(case: RecurrentCase, **options: Any) -> Any:
    """The layer of a case."""
    layer = KINDS[case.cell](
        case.units,
        go_backwards=case.reverse,
        zero_output_for_mask=case.zero_masked,
        **cell_options(case) | options,
    )
    layer.build((None, None, case.features))
    layer.set_weights(weights_of(case))
    return layer


def flat(value: Any) -> list[Any]:
    """The arrays in what a layer returned."""
    if isinstance(value, (list, tuple)):
        return [one for each in value for one in flat(each)]
    return [value.data if isinstance(value, fm.Masked) else value]


@load
def layers(random: Random) -> Problem:
    """LSTM, GRU, SimpleRNN, and RNN with their cells or with a custom one."""
    case = recurrent(random)
    sequences = flag(random)
    options = {"return_sequences": sequences, "return_state": True}
    layer = layer_of(case, **options)
    if flag(random):
        cell = CELLS[case.cell](case.units, **cell_options(case))
        if case.cell == "lstm" and (case.activation, case.recurrent_activation) == (
            "tanh",
            "sigmoid",
        ):
            cell = OwnLSTM(case.units, dtype=case.dtype)
        options |= {"go_backwards": case.reverse, "zero_output_for_mask": case.zero_masked}
        layer = L.RNN(cell, **options)
        layer.build((None, None, case.features))
        layer.set_weights(weights_of(case))
    inputs = fm.Masked(case.x, case.valid)

    def run(one: RecurrentCase) -> list[Array]:
        out, *last = forward(one)
        return [out if sequences else out[:, -1], *last]

    return Problem(lambda: flat(layer(inputs, initial_state=case.states)), *expected_of(case, run))


@load
def bidirectional(random: Random) -> Problem:
    one = recurrent(random, reverse=False, zero_masked=True, dtype="float32")
    other = recurrent(random, one.cell, reverse=True, zero_masked=True, dtype="float32")
    other = type(one)(one.batch, one.time, one.features, other.units, **_like(one, other))
    other.x, other.valid = one.x, one.valid
    mode = "concat" if one.units != other.units else pick(random, ("sum", "ave", "concat"))
    layer = L.Bidirectional(
        layer_of(one, return_sequences=True, return_state=True),
        mode,
        backward_layer=layer_of(other, return_sequences=True, return_state=True),
    )
    layer.build((None, None, one.features))
    layer.set_weights([*weights_of(one), *weights_of(other)])

    (a, *first), near = expected_of(one, forward)
    (b, *second), far = expected_of(other, forward)
    b = b[:, ::-1]
    merged = {"concat": lambda: np.concatenate([a, b], axis=2), "sum": lambda: a + b}
    y = (a + b) / 2 if mode == "ave" else merged[mode]()
    tolerances = [near[0] + far[0], *near[1:], *far[1:]]

    def compute() -> Sequence[Any]:
        return flat(layer(one.x, mask=one.valid, initial_state=[*one.states, *other.states]))

    return Problem(compute, [y, *first, *second], tolerances)


def _like(one: RecurrentCase, other: RecurrentCase) -> dict[str, Any]:
    names = ("seed", "dtype", "activation", "recurrent_activation", "reverse", "zero_masked")
    options = {name: getattr(other, name) for name in names}
    if one.cell == "gru":
        options["reset_after"] = other.reset_after  # type: ignore[attr-defined]  # a GRUCase
    return options


@load
def stateful(random: Random) -> Problem:
    """A sequence in pieces gives the same as in one call."""
    case = recurrent(random, reverse=False, zero_masked=True)
    layer = layer_of(case, return_sequences=True, return_state=True, stateful=True)
    case.states = [np.zeros_like(state) for state in case.states]
    cuts = sorted(int(random.integers(0, case.time + 1)) for _ in range(2))
    pieces = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, case.time], strict=True)]

    def compute() -> Sequence[Any]:
        layer.reset_state()
        found = [flat(layer(case.x[:, p].copy(), mask=case.valid[:, p])) for p in pieces]
        return [np.concatenate([out for out, *_ in found], axis=1), *found[-1][1:]]

    return Problem(compute, *expected_of(case, forward))


@load
def stacked(random: Random) -> Problem:
    """Stacked cells in one layer."""
    one = recurrent(random, reverse=False, zero_masked=True, dtype="float32")
    units = int(random.integers(1, 20))
    other = recurrent(
        random, time=one.time, batch=one.batch, features=one.units, units=units, dtype="float32"
    )
    other.reverse, other.zero_masked, other.valid = False, True, one.valid
    cells = [CELLS[case.cell](case.units, **cell_options(case)) for case in (one, other)]
    layer = L.RNN(cells, return_sequences=True, zero_output_for_mask=True)
    layer.build((None, None, one.features))
    layer.set_weights([*weights_of(one), *weights_of(other)])

    def run(inner: RecurrentCase) -> list[Array]:
        out = forward(inner)[0]
        return forward(other.with_inputs([out, *other.inputs[1:]]))[:1]

    states = [one.states, other.states]
    return Problem(
        lambda: flat(layer(one.x, mask=one.valid, initial_state=states)), *expected_of(one, run)
    )
