"""Names of a model's outputs, and the line about them in its summary."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmask as fm
from fastmask.layers import LSTM, Dense, Layer
from fastmask.layers._operation import Operation

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)


def test_output_names() -> None:
    x = fm.Input((None, 4), name="x")
    read, inner = LSTM(2, return_state=True, name="read"), fm.Sequential(name="inner")
    inner.add(Dense(3))
    y, h, _ = read(x)
    ends = [h, inner(x), x, Operation("negative", [{"input": 0}], name="turned")(y), y]
    model = fm.Model(x, ends)
    assert model.output_names == ["read", "inner", "x", "turned", "read"]
    assert model.summary().outputs == (
        "outputs: read (None, 2) float32, inner (None, None, 3) float32, "
        "x (None, None, 4) float32, turned (None, 2) float32, read (None, 2) float32"
    )
    assert fm.Model(x, y).output_names == ["read"]
    named = fm.Model(x, {"z": y, "a": inner(x)})
    assert named.output_names == ["inner", "read"]  # by their keys, as in Keras
    assert named.summary().outputs == "outputs: z (None, 2) float32, a (None, None, 3) float32"
    assert list(named(X)) == ["z", "a"]
    nested = fm.Model(x, {"z": [y, x], "a": h})
    assert nested.output_names == ["read", "read", "x"]
    ends = ("z (None, 2)", "z (None, None, 4)", "a (None, 2)")
    assert nested.summary().outputs == f"outputs: {', '.join(f'{one} float32' for one in ends)}"


def test_output_names_where_shapes_are_not_known() -> None:
    class NotZeros(Layer):
        strict = False

        def call(self, inputs: Any) -> Any:
            if self.strict and not np.asarray(inputs).any():
                raise ArithmeticError
            return inputs

    x, odd = fm.Input((None, 4)), NotZeros(name="odd")
    model = fm.Model(x, odd(x))
    odd.strict = True
    assert model.summary().outputs == "outputs: odd"


def test_outputs_of_other_models() -> None:
    class Own(fm.Model):
        def __init__(self) -> None:
            super().__init__()
            self.read = LSTM(2, return_state=True)

        def call(self, inputs: Any) -> Any:
            return self.read(inputs)

    for model in (Own(), fm.Sequential([LSTM(2, return_state=True)])):
        assert not hasattr(model, "output_names")  # as in Keras
        assert not model.summary().outputs
        model.build((None, None, 4))
        assert model.summary().outputs == f"outputs: {', '.join(['(None, 2) float32'] * 3)}"
