"""Quantized layers and models."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastmask as fm

FORMS = "bfloat16", "int8"
TOLERANCE = {"bfloat16": 1e-2, "int8": 3e-2}


def batch(features: int = 12, seed: int = 0) -> fm.Masked:
    random = np.random.default_rng(seed)
    x = random.normal(size=(6, 9, features)).astype(np.float32)
    return fm.Masked(x, random.random((6, 9)) < 0.7)


def data_of(y: Any) -> Any:
    return y.data if isinstance(y, fm.Masked) else y


def assert_near(layer: Any, x: Any, form: str) -> None:
    """Assert that results differ from the exact ones, but only a little."""
    before = data_of(layer(x))
    layer.quantize(form)
    error = np.abs(data_of(layer(x)) - before).max()
    assert 0 < error < 2 * TOLERANCE[form]


@pytest.mark.parametrize("form", FORMS)
def test_lstm(form: str) -> None:
    layer = fm.layers.LSTM(20, return_sequences=True)
    assert_near(layer, batch(), form)
    assert repr(layer) == f"<LSTM {layer.name!r} {form}>"


def test_sigmoids_and_tanhs_of_int8() -> None:
    """Without products nothing else is rounded; open and closed gates stay so."""
    layer, random = fm.layers.LSTM(20, return_sequences=True), np.random.default_rng(6)
    layer.build((None, None, 12))
    bias = random.normal(size=80).astype(np.float32) * 4
    bias[:20], bias[20:25], bias[25:30] = -40, 40, -40
    layer.set_weights([np.zeros((12, 80), "f4"), np.zeros((20, 80), "f4"), bias])
    x, states = np.zeros((6, 9, 12), np.float32), random.normal(size=(2, 6, 20)).astype(np.float32)
    exact = layer(x, initial_state=list(states))
    layer.quantize("int8")
    found = layer(x, initial_state=list(states))
    assert 0 < np.abs(found - exact).max() < 1e-4
    np.testing.assert_array_equal(found[:, 0, :5], found[:, -1, :5])
    np.testing.assert_allclose(found[:, :, 5:10], 0, atol=1e-12)


LAYERS = {
    "gru": lambda: fm.layers.GRU(20),
    "gru, reset before": lambda: fm.layers.GRU(20, reset_after=False, go_backwards=True),
    "simple": lambda: fm.layers.SimpleRNN(20, return_sequences=True, zero_output_for_mask=True),
    "own cell": lambda: fm.layers.RNN(fm.cells.peephole_lstm(20)),
    "stack": lambda: fm.layers.RNN([fm.layers.LSTMCell(20), fm.layers.GRUCell(8)]),
    "both ways": lambda: fm.layers.Bidirectional(fm.layers.LSTM(20, return_sequences=True)),
    "dense": lambda: fm.layers.Dense(5, activation="tanh"),
    "at each step": lambda: fm.layers.TimeDistributed(fm.layers.Dense(5)),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LAYERS)
def test_each_layer(name: str, form: str) -> None:
    assert_near(LAYERS[name](), batch(), form)


@pytest.mark.parametrize("form", FORMS)
def test_embedding(form: str) -> None:
    layer = fm.layers.Embedding(30, 16, mask_zero=True)
    ids = np.random.default_rng(3).integers(0, 30, (4, 7))
    before = layer(ids).data
    layer.quantize(form)
    after = layer(ids)
    assert after.data.dtype == np.float32
    bound = {"bfloat16": 2.0**-8, "int8": 1 / 254}[form]
    largest = np.abs(before).max(axis=-1, keepdims=True)
    assert (np.abs(after.data - before) <= bound * largest * 1.001).all()
    assert (after.data != before).any()
    np.testing.assert_array_equal(after.mask.valid, ids != 0)


def model() -> Any:
    inputs = fm.Input((None,), dtype="int32")
    x = fm.layers.Embedding(40, 12, mask_zero=True)(inputs)
    x = fm.layers.Bidirectional(fm.layers.LSTM(10, return_sequences=True))(x)
    inner = fm.Sequential([fm.layers.GRU(16), fm.layers.Dropout(0.5)])
    return fm.Model(inputs, fm.layers.Dense(3)(inner(x)))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_models(form: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made, ids = model(), np.random.default_rng(1).integers(0, 40, (5, 8))
    exact, weights = made(ids), made.get_weights()
    made.quantize(form)
    rounded = made(ids)
    assert 0 < np.abs(rounded - exact).max() < 2 * TOLERANCE[form]
    for before, after in zip(weights, made.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    rows = {row.type for row in made.summary()}
    capsys.readouterr()
    quantized = {f"{name}, {form}" for name in ("Bidirectional", "GRU", "Dense")}
    assert rows == {"Dropout", f"Embedding, {form}, folded"} | quantized
    fm.save_model(made, tmp_path / "model.npz")
    np.testing.assert_array_equal(made.predict(ids, verbose=0), rounded)
    for same in (fm.load_model(tmp_path / "model.npz"), copy.deepcopy(made)):
        np.testing.assert_array_equal(same(ids), rounded)


def test_weights_that_change_are_followed() -> None:
    layer, x = fm.layers.LSTM(20), batch()
    layer.build((None, None, 12))
    layer.quantize("int8")
    before = layer(x)
    other = fm.layers.LSTM(20)
    other.build((None, None, 12))
    layer.set_weights(other.get_weights())
    other.quantize("int8")
    assert (layer(x) != before).any()
    np.testing.assert_array_equal(layer(x), other(x))
    layer.quantize("bfloat16")  # another form, of the same weights
    assert (layer(x) != other(x)).any()


def test_a_layer_of_a_users_own_cannot_write_past_what_was_made() -> None:
    class Mine(fm.layers.Dense):
        def halve(self) -> None:
            self.kernel *= 0.5

    layer = Mine(2)
    layer(np.ones((1, 3)))
    layer.halve()
    layer.quantize("int8")
    with pytest.raises(ValueError, match="read-only"):
        layer.halve()


@pytest.mark.slow
def test_steps_and_states() -> None:
    layer, x = fm.layers.LSTM(20, return_sequences=True), batch().data[:, :3]
    layer.build((None, None, 12))
    layer.quantize("int8")
    states = [np.zeros((6, 20), np.float32) for _ in range(2)]
    for t in range(3):
        out = layer.step(x[:, t], states)
    np.testing.assert_allclose(out, layer(x)[:, -1], atol=1e-6)


def test_config_has_the_form() -> None:
    layer = fm.layers.Bidirectional(fm.layers.GRU(4))
    layer.quantize("bfloat16")
    assert layer.forward_layer.get_config()["quantization"] == "bfloat16"
    again = fm.layers.Bidirectional.from_config(layer.get_config())
    assert again.backward_layer.cell._quantization == "bfloat16"
    assert "quantization" not in fm.layers.GRU(4).get_config()


def test_layers_without_such_weights_stay_as_they_are() -> None:
    layer = fm.layers.LayerNormalization()
    layer.quantize("int8")
    assert repr(layer) == f"<LayerNormalization {layer.name!r}>"


@pytest.mark.parametrize("form", ["int4", None, 8, "INT8"])
def test_forms_that_there_are_not(form: Any) -> None:
    with pytest.raises(ValueError, match="mode must be one of 'bfloat16', 'int8', not"):
        fm.layers.LSTM(2).quantize(form)


def test_layers_of_float64() -> None:
    made = fm.Sequential([fm.layers.LSTM(2), fm.layers.Dense(2, dtype="float64", name="wide")])
    with pytest.raises(ValueError, match="layer 'wide' computes in float64: quantize needs"):
        made.quantize("int8")
    assert made.layers[0]._quantization is None  # nothing has changed


def test_training() -> None:
    made = fm.Sequential([fm.layers.LSTM(2), fm.layers.Dense(2, name="end")])
    made(np.ones((1, 2, 3)))
    made.layers[1].quantize("int8")
    for call in (made, made.layers[1]):
        with pytest.raises(ValueError, match=r"'end' cannot be trained .* quantize\('int8'\)"):
            call(np.ones((1, 2, 3)), training=True)


def test_weights_that_are_not_finite() -> None:
    layer = fm.layers.Dense(2, kernel_initializer=lambda shape, _: np.full(shape, np.nan))
    layer.quantize("int8")
    with pytest.raises(ValueError, match="weights must be finite to be quantized to int8"):
        layer(np.ones((1, 3)))


def test_the_reference_has_no_such_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastmask.backends import table

    monkeypatch.setattr(table, "_table", table.kernels())
    table.use_kernels("reference")
    layer = fm.layers.LSTM(2)
    layer.quantize("int8")
    with pytest.raises(ValueError, match="need the compiled kernels"):
        layer(np.ones((1, 2, 3)))
