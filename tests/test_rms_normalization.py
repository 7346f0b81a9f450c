"""RMSNormalization and `LayerNormalization(rms_scaling=True)`, against formulas and Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers import LayerNormalization, RMSNormalization

X = np.random.default_rng(8).normal(1.0, 2.0, size=(3, 5, 4)).astype(np.float32)
MASK = np.array([[1, 1, 0, 0, 0], [1, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
AXES: list[Any] = [-1, 1, [1, 2], (2, 1)]


def weighted(layer: Any) -> Any:
    layer(X)
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(size=w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_formula(axis: Any) -> None:
    axes = tuple(sorted(np.atleast_1d(axis)))
    layer = weighted(RMSNormalization(axis, epsilon=0.5))
    (scale,) = layer.get_weights()
    shape = [n if i in np.array(axes) % 3 else 1 for i, n in enumerate(X.shape)]
    mean = (X.astype(np.float64) ** 2).mean(axis=axes, keepdims=True)
    np.testing.assert_allclose(layer(X), X / np.sqrt(mean + 0.5) * scale.reshape(shape), rtol=1e-5)
    layer = weighted(LayerNormalization(axis, epsilon=0.5, scale=False, rms_scaling=True))
    (gamma,) = layer.get_weights()  # no beta
    variance = X.astype(np.float64).var(axis=axes, keepdims=True)
    expected = X / np.sqrt(variance + 0.5) * gamma.reshape(shape)
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5)


def test_masks_go_on_and_padding_does_not_count() -> None:
    for layer in (RMSNormalization(), RMSNormalization(1), LayerNormalization(1, rms_scaling=True)):
        y = layer(fm.Masked(X, MASK))
        np.testing.assert_array_equal(y.mask.valid, MASK)
        other = np.where(MASK[..., None], X, np.float32(np.nan))
        np.testing.assert_array_equal(layer(fm.Masked(other, MASK)).data[MASK], y.data[MASK])
    y = RMSNormalization(1, epsilon=0.0)(fm.Masked(X, MASK)).data
    expected = X[0, :2] / np.sqrt((X[0, :2] ** 2).mean(axis=0))
    np.testing.assert_allclose(y[0, :2], expected, rtol=1e-5)


def test_goes_round(tmp_path: Path) -> None:
    for layer in (RMSNormalization([1, 2]), LayerNormalization(rms_scaling=True)):
        expected = weighted(layer)(X)
        fm.save_model(layer, tmp_path / "a.npz")
        again = fm.load_model(tmp_path / "a.npz")
        assert again.get_config() == layer.get_config()
        np.testing.assert_array_equal(again(X), expected)


@pytest.mark.optional
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")  # says Keras
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_equals_keras(axis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("torch", reason="torch is not installed")
    keras = pytest.importorskip("keras", reason="keras is not installed")
    makers = [
        lambda layers: layers.LayerNormalization(axis, rms_scaling=True),
        lambda layers: layers.LayerNormalization(axis, scale=False, rms_scaling=True),
    ]
    if axis != 1:  # this fails in Keras on torch
        makers.append(lambda layers: layers.RMSNormalization(axis))
    for make in makers:
        ours, theirs = weighted(make(fm.layers)), make(keras.layers)
        theirs.build(X.shape)
        theirs.set_weights(ours.get_weights())
        expected = keras.ops.convert_to_numpy(theirs(keras.ops.convert_to_tensor(X)))
        np.testing.assert_allclose(ours(X), expected, rtol=1e-5, atol=1e-6)
