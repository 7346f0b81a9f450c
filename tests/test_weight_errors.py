"""Weights that are not there yet, or do not fit: the message says how to get them."""

from __future__ import annotations

import fastmask as fm
from fastmask import layers as L

from .wrong_calls import Call, H, Wrong, assert_says, built, each_row

WEIGHTS: list[Wrong] = [
    (
        "weights before building",
        lambda: L.LSTM(4, name="a").set_weights([1]),
        ValueError,
        ("weights of 'a' cannot be set yet", "built", "build(input_shape)", "call 'a'"),
    ),
    (
        "weights of a model before building",
        lambda: fm.Sequential([L.LSTM(4, name="a")], name="m").set_weights([1, 2]),
        ValueError,
        ("2 weights of 'm' cannot be set yet", "'a' has none before it is built", "call 'm'"),
    ),
    (
        "too few weights",
        lambda: built().set_weights([H]),
        ValueError,
        ("'small' must be 3 arrays, not 1", "(3, 16), (4, 16), (16,)"),
    ),
    (
        "weights of another shape",
        lambda: built().set_weights([H, H, H]),
        ValueError,
        ("weights[0] (kernel) of 'small' must have shape (3, 16), not (2, 4)",),
    ),
    (
        "no list of weights",
        lambda: built().set_weights(H),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("weights must be a list of arrays, not ndarray", "get_weights()"),
    ),
    (
        "a weight before building",
        lambda: L.LSTM(4, name="a").kernel,
        AttributeError,
        ("'a' has no weights before it is built", "call it on some data"),
    ),
]


@each_row(WEIGHTS)
def test_message(call: Call, kind: type[Exception], parts: tuple[str, ...]) -> None:
    assert_says(call, kind, parts)


def test_summary_says_that_a_model_is_not_built() -> None:
    model = fm.Sequential([L.LSTM(4, name="reader")], name="small")
    shown = str(model.summary())
    assert "small: not built" in shown
    assert "build(input_shape)" in shown
    assert "0 parameters" not in shown
    row = next(line for line in shown.splitlines() if line.startswith("reader"))
    assert row.split()[2:] == ["?", "?", "?"]
    model.build((None, None, 3))
    assert str(model.summary()).startswith("small: 128 parameters")
