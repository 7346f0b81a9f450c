"""Arguments that a call does not have, and what the error says to give instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mask", ": give the rows themselves, .* unless a layer makes the mask"),
        ("attention_mask", ": give the rows themselves, .* unless a layer makes the mask"),
        ("lengths", r": give the rows .* fastmask.Mask.from_lengths\(lengths, steps\)"),
        ("batchsize", r" \(did you mean 'batch_size'\?\)"),
        ("callbacks", ""),
    ],
)
def test_predict(name: str, hint: str) -> None:
    model = fm.Sequential([fm.layers.Dense(2)])
    message = f"^Model.predict\\(\\) got an unexpected keyword argument '{name}'{hint}"
    with pytest.raises(TypeError, match=message + ("" if hint else "$")):
        model.predict(np.ones((2, 3, 4)), **{name: np.ones((2, 3))})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mask", r": give fastmask.Masked\(x, mask\) as the column in a dict, or rows without"),
        ("lengths", ": give rows without their padding"),
        ("batch_size", ": it is an argument of Predictor itself"),
    ],
)
def test_predictor(name: str, hint: str) -> None:
    layer = fm.layers.Dense(2)
    layer.build((None, None, 4))
    x, mask = np.ones((2, 3, 4), np.float32), np.array([[1, 0, 0], [1, 1, 0]], bool)
    predict = fm.Predictor(layer, "x")
    message = rf"^Predictor.__call__\(\) got an unexpected keyword argument '{name}'{hint}"
    with pytest.raises(TypeError, match=message):
        predict({"x": x}, **{name: mask})
    rows = predict({"x": fm.Masked(x, mask)})["prediction"]  # as the message says
    assert [len(row) for row in rows] == [1, 2]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lengths", r": give mask=fastmask.Mask.from_lengths\(lengths, steps\), or the rows"),
        ("sequence_length", r": give mask=fastmask.Mask.from_lengths\(lengths, steps\)"),
        ("key_padding_mask", ": masks are given as mask=, True or 1 where a step is valid"),
        ("trainig", r" \(did you mean 'training'\?\)$"),
        ("hx", "$"),
    ],
)
def test_call(name: str, hint: str) -> None:
    step = fm.Input((None, 4))
    x = np.ones((2, 3, 4), np.float32)
    for layer in (
        fm.layers.LSTM(4, name="a"),
        fm.layers.Bidirectional(fm.layers.GRU(3), name="a"),
        fm.layers.Dense(2, name="a"),
        fm.Sequential([fm.layers.LSTM(4)], name="a"),
        fm.Model(step, fm.layers.LSTM(4)(step), name="a"),
    ):
        kind = rf"\(of type {type(layer).__name__}\)"
        message = rf"^layer 'a' {kind} got an unexpected keyword argument '{name}'{hint}"
        for inputs in (x, fm.ragged([x[0], x[1, :2]]), step):
            with pytest.raises(TypeError, match=message):
                layer(inputs, **{name: [3, 2]})
    model = fm.Sequential([fm.layers.LSTM(4)])
    given = model(x, mask=fm.Mask.from_lengths([3, 2], 3))  # as the message says
    np.testing.assert_allclose(given, model(fm.ragged([x[0], x[1, :2]])), atol=1e-6)


def test_a_call_that_takes_any_argument() -> None:
    class Times(fm.layers.Layer):
        def call(self, inputs: Any, **options: Any) -> Any:
            return inputs * options["lengths"]

    np.testing.assert_array_equal(Times()(np.ones(2, np.float32), lengths=3), [3, 3])


@pytest.mark.parametrize("cell", [fm.cells.gru, fm.layers.LSTMCell])
def test_a_cell_without_units(cell: Any) -> None:
    with pytest.raises(TypeError, match=r"Layer, not .*: call it with a number of units$"):
        fm.layers.RNN(cell)
    with pytest.raises(TypeError, match=r"Layer, not 'gru'$"):
        fm.layers.RNN("gru")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("compile", ": models are never compiled here, because they only predict; leave it out$"),
        ("safe_mode", ": code in files is never run here; leave it out$"),
        ("custom_object", r" \(did you mean 'custom_objects'\?\)$"),
    ],
)
def test_load_model(name: str, hint: str) -> None:
    message = rf"^load_model\(\) got an unexpected keyword argument '{name}'{hint}"
    with pytest.raises(TypeError, match=message):
        fm.load_model("model.keras", **{name: False})  # type: ignore[arg-type]  # on purpose


def test_where_keras_has_its_functions() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'load_model': it is fastmask.load_m"):
        fm.models.load_model  # type: ignore[attr-defined]  # noqa: B018 - on purpose
    with pytest.raises(AttributeError, match=r"'fastmask' has no attribute 'saving': it is fastm"):
        fm.saving  # type: ignore[attr-defined]  # noqa: B018 - on purpose
    assert not hasattr(fm.models, "clone_model")
