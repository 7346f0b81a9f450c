"""Layers, cells and masks for the tests of recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmask as fm

from . import golden

L = fm.layers
B, T, F, H = golden.B, golden.T, golden.F, 4
X = np.random.default_rng(0).normal(size=(B, T, F)).astype(np.float32)
MASKS = [name for name, mask in golden.MASKS.items() if mask is not None]
HOLED = golden.MASKS["holed"]
ROWOFF = golden.MASKS["rowoff"]
assert HOLED is not None
assert ROWOFF is not None
ONE_CELL: dict[str, Any] = {
    "LSTM": lambda **options: L.LSTM(H, **options),
    "GRU": lambda **options: L.GRU(H, **options),
    "GRU_before": lambda **options: L.GRU(H, reset_after=False, **options),
    "SimpleRNN": lambda **options: L.SimpleRNN(H, **options),
}


def seeded(layer: Any, features: int = F) -> Any:
    """The layer, built, with random weights, including biases."""
    layer.build((None, None, features))
    random = np.random.default_rng(1)
    layer.set_weights([0.5 * random.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def random_states(*units: int) -> list[Any]:
    """Arrays (B, units), the same ones at each call."""
    random = np.random.default_rng(2)
    return [random.normal(size=(B, n)).astype(np.float32) for n in units]


def plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [one for each in value for one in plain(each)]
    return [value.data if isinstance(value, fm.Masked) else value]


def same(one: Any, other: Any, atol: float = 0.0) -> None:
    for a, b in zip(plain(one), plain(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


class OwnLSTM(L.Layer):
    """An LSTM cell as a user would write it."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, units]
        self.rows: list[int] = []

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight((input_shape[-1], 4 * self.units))
        self.recurrent_kernel = self.add_weight((self.units, 4 * self.units))
        self.bias = self.add_weight((4 * self.units,))

    def call(self, inputs: Any, states: Any) -> Any:
        h, c = states
        self.rows.append(len(inputs))
        z = inputs @ self.kernel + h @ self.recurrent_kernel + self.bias
        i, f, g, o = np.split(z, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        return h, [h, c]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Sum(L.Layer):
    """A state of another size than the output, its own initial state, inputs with more axes."""

    state_size = 2
    output_size = 3

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        total = states[0] + inputs.reshape(len(inputs), -1).sum(axis=1, keepdims=True)
        return np.repeat(total[:, :1], 3, axis=1) + training, total

    def get_initial_state(self, batch_size: int) -> Any:
        return np.full((batch_size, 2), 10.0)
