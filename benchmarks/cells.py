"""The recurrent cells that are timed: their sizes, their formulas, and other libraries' layouts.

A problem's weights are in Keras's layout and gate order: LSTM i f c o, GRU z r h with
`reset_after=True` (a row of bias for the input, another for the state), SimpleRNN one gate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Cell:
    """The properties of one kind of cell.

    `torch_gates` and `onnx_gates` give the number of our gate for each of theirs. `formula`
    gives the new states, the output first, from x W + b (B, gates * H), h U + b and the states.
    """

    name: str
    layer: str  # in fastmask.layers, as in Keras
    torch: str  # in torch.nn
    onnx: str
    states: int
    torch_gates: tuple[int, ...]
    onnx_gates: tuple[int, ...]
    formula: Callable[[Array, Array, list[Array]], list[Array]]

    @property
    def gates(self) -> int:
        return len(self.torch_gates)

    def bias_shape(self, units: int) -> tuple[int, ...]:
        return (2, self.gates * units) if self.name == "gru" else (self.gates * units,)

    def biases(self, bias: Array) -> tuple[Array, Array]:
        """The bias of the input and that of the state, (gates * H,) each."""
        return (bias[0], bias[1]) if bias.ndim == 2 else (bias, np.zeros_like(bias))

    def reordered(self, weights: Array, order: tuple[int, ...]) -> Array:
        """Weights whose leading axis holds the gates in another library's order."""
        gates = np.split(weights, self.gates)
        return np.concatenate([gates[gate] for gate in order])


def sigmoid(z: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-z))


def lstm_formula(inner: Array, recurrent: Array, states: list[Array]) -> list[Array]:
    i, f, g, o = np.split(inner + recurrent, 4, axis=1)
    c = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def gru_formula(inner: Array, recurrent: Array, states: list[Array]) -> list[Array]:
    (z, r, n), (hz, hr, hn) = (np.split(part, 3, axis=1) for part in (inner, recurrent))
    update = sigmoid(z + hz)
    candidate = np.tanh(n + sigmoid(r + hr) * hn)
    return [update * states[0] + (1.0 - update) * candidate]


def rnn_formula(inner: Array, recurrent: Array, _: list[Array]) -> list[Array]:
    return [np.tanh(inner + recurrent)]


CELLS = {
    cell.name: cell
    for cell in (
        Cell("lstm", "LSTM", "LSTM", "LSTM", 2, (0, 1, 2, 3), (0, 3, 1, 2), lstm_formula),
        Cell("gru", "GRU", "GRU", "GRU", 1, (1, 0, 2), (0, 1, 2), gru_formula),
        Cell("rnn", "SimpleRNN", "RNN", "RNN", 1, (0,), (0,), rnn_formula),
    )
}
