"""Normalizations with sums over time: masked steps do not count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .cases import MASK_KINDS, make_mask

Array = Any
TIME = 6


def layer_norm(x: Array) -> Array:
    """Normalizes one row (T, F) over all its elements."""
    return (x - x.mean()) / np.sqrt(x.var() + 0.1)


def group_norm(x: Array) -> Array:
    """In two groups of two features."""
    groups = x.reshape(len(x), 2, 2)
    mean, variance = groups.mean((0, 2), keepdims=True), groups.var((0, 2), keepdims=True)
    return ((groups - mean) / np.sqrt(variance + 0.1)).reshape(x.shape)


def instance_norm(x: Array) -> Array:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 0.1)


def unit_norm(x: Array) -> Array:
    """Normalizes every feature over time."""
    return x / np.sqrt((x * x).sum(0))


LAYERS: dict[str, tuple[Any, Any]] = {
    "layer": (lambda: L.LayerNormalization(axis=(1, 2), epsilon=0.1), layer_norm),
    "group": (lambda: L.GroupNormalization(2, epsilon=0.1), group_norm),
    "instance": (lambda: L.GroupNormalization(-1, epsilon=0.1), instance_norm),
    "unit": (lambda: L.UnitNormalization(axis=1), unit_norm),
}


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("name", LAYERS)
def test_each_row_equals_its_valid_steps_alone(name: str, kind: str) -> None:
    make, formula = LAYERS[name]
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, TIME, 4)).astype(np.float32)
    mask = make_mask(kind, 5, TIME, rng)
    x[~mask] = np.nan
    y = make()(fm.Masked(x, mask))
    np.testing.assert_array_equal(y.mask, mask)
    for row, valid, data in zip(y.data, mask, x, strict=True):
        if valid.any():
            np.testing.assert_allclose(row[valid], formula(data[valid]), atol=1e-5)


def test_rows_without_a_valid_step_stay_finite() -> None:
    x = np.ones((1, TIME, 4), np.float32)
    for make, _ in LAYERS.values():
        assert np.isfinite(make()(fm.Masked(x, np.zeros((1, TIME)))).data).all()
    layer = L.LayerNormalization(axis=(1, 2), epsilon=0)
    assert np.isfinite(layer(fm.Masked(x, np.zeros((1, TIME)))).data).all()


def test_groups_of_steps() -> None:
    """Groups along the time axis: steps 0 to 2, and steps 3 to 5."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, TIME, 3)).astype(np.float32)
    mask = np.array([[1, 1, 0, 1, 0, 0], [0, 1, 1, 1, 1, 1]], bool)
    layer = L.GroupNormalization(2, axis=1, epsilon=0.1)
    y = layer(fm.Masked(np.where(mask[:, :, None], x, np.nan), mask)).data
    for b in range(2):
        for half in (slice(3), slice(3, 6)):
            valid = mask[b, half]
            np.testing.assert_allclose(y[b, half][valid], layer_norm(x[b, half][valid]), atol=1e-5)


@pytest.mark.parametrize(
    "make", [L.LayerNormalization, L.UnitNormalization, lambda: L.LayerNormalization(axis=[2])]
)
def test_sums_within_a_step_need_no_mask(make: Any) -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2, TIME, 4)).astype(np.float32)
    masked = fm.Masked(x, rng.random((2, TIME)) < 0.5)
    layer = make()
    np.testing.assert_array_equal(layer(masked).data, layer(x))
    assert [row.did for row in fm.trace_masks(layer, masked)] == ["kept"]
    over_time = L.GroupNormalization(2)
    assert [row.did for row in fm.trace_masks(over_time, masked)] == ["used, kept"]


def test_steps_on_the_last_axis() -> None:
    x = np.array([[1.0, 3.0, 99.0], [5.0, 99.0, 99.0]], np.float32)
    masked = fm.Masked(x, [[1, 1, 0], [1, 0, 0]])
    y = L.LayerNormalization(epsilon=1e-12)(masked).data
    np.testing.assert_allclose(y[0, :2], [-1, 1], atol=1e-6)
    np.testing.assert_allclose(L.UnitNormalization()(masked).data[1, 0], 1, atol=1e-6)
    for layer in (L.Activation("softmax"), L.Softmax()):
        np.testing.assert_allclose(
            layer(masked).data, [[0.1192029, 0.8807971, 0], [1, 0, 0]], atol=1e-6
        )
    logs = L.Activation("log_softmax")(masked).data
    np.testing.assert_allclose(np.exp(logs), L.Softmax()(masked).data, atol=1e-6)
    none = L.Activation("softmax")(fm.Masked(x, np.zeros((2, 3))))
    assert not none.data.any()


def test_words_within_sentences() -> None:
    """A mask with three axes: sums over words, for each sentence separately."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    mask = rng.random((2, 3, 4)) < 0.6
    y = L.UnitNormalization(axis=2)(fm.Masked(np.where(mask[..., None], x, np.nan), mask)).data
    for at in np.ndindex(2, 3):
        valid = mask[at]
        np.testing.assert_allclose(y[at][valid], unit_norm(x[at][valid]), atol=1e-5)
