"""Errors of models that are given a row instead of a batch, or texts instead of ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm

L = fm.layers


def of_ids(*, inside: bool = False) -> fm.Model:
    """A model that takes ids; if `inside`, in a model inside it."""
    ids = fm.Input((None,), "int32", name="ids")
    vectors = L.Embedding(9, 2, mask_zero=True, name="words")(ids)
    model = fm.Model(ids, L.GlobalAveragePooling1D()(vectors), name="reader")
    if not inside:
        return model
    outer = fm.Input((None,), "int32", name="outer")
    return fm.Model(outer, model(outer), name="reader")


def of_numbers() -> fm.Sequential:
    return fm.Sequential([fm.Input((None, 3)), L.Masking(), L.GlobalAveragePooling1D()])


def of_both() -> fm.Model:
    ids, x = fm.Input((None,), "int32", name="ids"), fm.Input((3,), name="x")
    vectors = L.GlobalAveragePooling1D()(L.Embedding(9, 3, mask_zero=True, name="words")(ids))
    return fm.Model([ids, x], L.Add()([vectors, x]), name="both")


def of_texts() -> fm.Sequential:
    return fm.Sequential([fm.Input((1,), dtype="str"), L.TextVectorization(vocabulary=["a", "b"])])


ROW = np.random.default_rng(6).normal(size=(5, 3))
ROWS: dict[str, tuple[Callable[[], Any], Any, str, str]] = {
    # a model, a row, and how messages of a call and of predict name the batch
    "ids in a list": (of_ids, [3, 4, 5], "[inputs]", "[x]"),
    "ids in an array": (of_ids, np.array([3, 4, 5]), "inputs[None]", "x[None]"),
    "ids for a model inside": (lambda: of_ids(inside=True), [3, 4, 5], "[inputs]", "[x]"),
    "numbers": (of_numbers, ROW, "inputs[None]", "x[None]"),
    "numbers in lists": (of_numbers, ROW.tolist(), "[inputs]", "[x]"),
    "two inputs": (of_both, [[3, 4, 5], ROW[0]], "inputs[0][None]", "[x[0]]"),
    "one of two inputs": (of_both, [[[3, 4]], ROW[0]], "inputs[1][None]", "x[1][None]"),
    "a text": (of_texts, "a b", "[inputs]", "[x]"),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_row_for_a_batch(case: str) -> None:
    make, row, called, predicted = ROWS[case]
    model = make()
    for function, batch in ((model, called), (model.predict, predicted)):
        with pytest.raises((TypeError, ValueError)) as raised:
            function(row)
        assert str(raised.value).endswith(f"; pass a single row as a batch of one: {batch}")
        assert str(raised.value).count("single row") == 1


def test_a_batch_that_is_wrong_otherwise() -> None:
    column = np.array([[99], [1, 2]], object)
    cases = (of_ids(), [[99]]), (of_numbers(), ROW[0]), (of_ids().predict, column)
    for function, x in cases:
        with pytest.raises(ValueError, match=r"^inputs of layer") as raised:
            function(x)
        assert "single row" not in str(raised.value)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "x",
    [
        "a b",
        ["a b", "b"],
        np.array(["a b", "b"]),
        np.array(["a b", "b"], object),
        [["a b", "b"], ["b"]],
        [[], ["a b"]],
        [["a b", "b"], ["b", "a"]],
        fm.ragged([["a b", "b"], ["b"]]),
    ],
    ids=repr,
)
def test_texts_for_ids(x: Any, inside: bool) -> None:
    model = of_ids(inside=inside)
    words = "must hold ids (integers) for layer 'words' of model 'reader', not texts such as 'a b'"
    for function, name in ((model, "inputs"), (model.predict, "x")):
        with pytest.raises(TypeError) as raised:
            function(x)
        assert str(raised.value).startswith(f"{name} {words}: ")
        assert "TextVectorization or StringLookup" in str(raised.value)


def test_texts_for_ids_of_a_model_that_is_not_built() -> None:
    model = fm.Sequential([L.Embedding(9, 2, name="words"), L.LSTM(2)])
    with pytest.raises(TypeError, match=r"x must hold ids \(integers\) for layer 'words'"):
        model.predict([["a"], ["b", "c"]])


def test_texts_for_one_of_two_inputs() -> None:
    with pytest.raises(TypeError, match=r"x\[0\] must hold ids \(integers\) for layer 'words'"):
        of_both().predict([["a b"], ROW[:1]])


def test_texts_for_numbers() -> None:
    for x in (["a", "b"], [["a", "b"]], [["a"], ["b", "c"]]):
        with pytest.raises((TypeError, ValueError), match=r"^x holds strings, which model"):
            of_numbers().predict(x)


def test_texts_in_a_column_of_ids() -> None:
    predict = fm.Predictor(of_ids(), column="ids")
    for texts in (["a b", "b"], [["a", "b"], ["b"]]):
        words = r"^ids\[0\] must hold numbers, .*: layer 'words' takes ids \(integers\)"
        with pytest.raises(ValueError, match=words):
            predict({"ids": texts})
