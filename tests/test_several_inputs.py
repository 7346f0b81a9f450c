"""Several inputs passed one by one, or a `Ragged` beside a padded one: what the message says."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmask as fm
from fastmask import layers as L

from .wrong_calls import Call, Wrong, X, assert_says, each_row

RAGGED = fm.ragged([[[1.0]], [[2.0], [3.0]]])
PADDED = RAGGED.to_masked()
LONGER = RAGGED.to_masked(maxlen=3)
IDS = np.array([[1, 2, 0], [3, 0, 0]])


def symbols() -> list[Any]:
    return [fm.Input((None,), name="ids"), fm.Input((3,), name="meta")]


def two_inputs() -> fm.Model:
    ids, meta = symbols()
    read = L.LSTM(2)(L.Embedding(9, 2, mask_zero=True)(ids))
    return fm.Model([ids, meta], L.Concatenate()([read, meta]), name="m")


class Sum(L.Layer):
    def call(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - as users have it
        first, second = inputs
        return first + second


class OwnModel(fm.Model):
    def __init__(self, name: str) -> None:
        super().__init__(name=name)

    def call(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - as users have it
        first, second = inputs
        return first + second


SEVERAL: list[Wrong] = [
    *(
        (
            f"{kind.__name__} of a Ragged and a Masked",
            lambda kind=kind, pair=pair: kind(name="a")(pair),
            ValueError,
            (
                "inputs of layer 'a' must all be Ragged with the same offsets",
                "but one is a Masked of shape (2, 2, 1)",
                f"inputs[{ragged}] is a Ragged, but inputs[{1 - ragged}] is padded",
                "Masked.to_ragged() or Ragged.to_masked()",
            ),
        )
        for kind in (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate)
        for ragged, pair in ((0, [RAGGED, PADDED]), (1, [PADDED, RAGGED]))
    ),
    *(
        (
            f"{what} beside a Ragged",
            call,
            ValueError,
            (*parts, "is padded: convert one of them, with Masked.to_ragged() or"),
        )
        for what, call, *parts in (
            (
                "one row",
                lambda: L.Add()([RAGGED[:1], RAGGED[:1].to_masked()]),
                "a Masked of shape (1, 1, 1)",
            ),
            ("an array", lambda: L.Add()([RAGGED, PADDED.data]), "an array of shape (2, 2, 1)"),
            ("lists", lambda: L.Add()([RAGGED, PADDED.data.tolist()]), "of shape (2, 2, 1)"),
            ("a masked key", lambda: L.Attention()([RAGGED, RAGGED, LONGER]), "inputs[2] is"),
            ("a key", lambda: L.AdditiveAttention()([RAGGED, RAGGED, LONGER.data]), "inputs[2]"),
            ("a key by name", lambda: L.MultiHeadAttention(1, 2)(RAGGED, RAGGED, LONGER), "key"),
            ("a factor", lambda: L.Dot(axes=1)([RAGGED, PADDED]), "inputs[1]"),
            ("an own layer's", lambda: Sum()([RAGGED, LONGER]), "inputs[1]"),
        )
    ),
    *(
        (
            f"two arguments for {what}",
            call,
            TypeError,
            (f"{name} takes its inputs in one list: call it on [{listed}]",),
        )
        for what, call, name, listed in (
            ("Add", lambda: L.Add(name="a")(X, X), "layer 'a'", "a, b"),
            ("Attention", lambda: L.Attention(name="a")(X, X), "layer 'a'", "a, b"),
            ("a symbolic Add", lambda: L.Add(name="a")(*symbols()), "layer 'a'", "a, b"),
            ("a model", lambda: two_inputs()(IDS, X[:, 0]), "model 'm'", "ids, meta"),
            ("a model, 0 and 1", lambda: two_inputs()(IDS, IDS > 0), "model 'm'", "ids, meta"),
            ("a model, lists", lambda: two_inputs()([[1]], [[0.5]]), "model 'm'", "ids, meta"),
            ("a model, symbols", lambda: two_inputs()(*symbols()), "model 'm'", "ids, meta"),
            ("a model, by name", lambda: two_inputs()(ids=IDS, meta=X), "model 'm'", "ids, meta"),
            ("a model, both", lambda: two_inputs()(IDS, meta=X), "model 'm'", "ids, meta"),
        )
    ),
    *(
        (
            f"a second input for {kind.__name__}",
            lambda kind=kind: kind(name="a")(X, X),
            ValueError,
            ("mask must hold", "no mask but another input of layer 'a'", "in one list, [a, b]"),
        )
        for kind in (Sum, OwnModel)
    ),
]


@each_row(SEVERAL)
def test_message(call: Call, kind: type[Exception], parts: tuple[str, ...]) -> None:
    assert_says(call, kind, parts)


def test_masks_by_position() -> None:
    meta = np.ones((2, 3))
    np.testing.assert_array_equal(
        (model := two_inputs())([IDS, meta], [IDS > 0, None]),
        model([IDS, meta], mask=[IDS > 0, None]),
    )
    read_all = fm.Sequential([L.LSTM(3)])
    valid = np.arange(5) < [[2], [5]]
    np.testing.assert_array_equal(read_all(X, valid), read_all(X, mask=valid))
