"""Convolution and pooling over windows of steps, against explicit sums."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

Array = Any
PADDINGS = ("valid", "same", "causal")
TIMES = (1, 2, 5, 8)


def positions(time: int, size: int, stride: int, dilation: int, padding: str) -> list[list[int]]:
    """The steps that each window covers; some may lie outside the inputs."""
    span = (size - 1) * dilation + 1
    count = (time - span) // stride + 1 if padding == "valid" else -(-time // stride)
    missing = max((count - 1) * stride + span - time, 0)
    before = {"valid": 0, "same": missing // 2, "causal": span - 1}[padding]
    return [[n * stride - before + k * dilation for k in range(size)] for n in range(count)]


def convolved(x: Array, kernel: Array, bias: Array, windows: list[list[int]], groups: int) -> Array:
    features, filters = kernel.shape[1], kernel.shape[2] // groups
    y = np.tile(bias.astype(np.float64), (len(x), len(windows), 1))
    for n, window in enumerate(windows):
        for k, step in enumerate(window):
            for c in range(kernel.shape[2]) if 0 <= step < x.shape[1] else ():
                first = c // filters * features
                y[:, n, c] += x[:, step, first : first + features] @ kernel[k, :, c]
    return y


def test_convolution_of_all_kinds() -> None:
    random = np.random.default_rng(0)
    for time, size, stride, dilation, padding, groups in product(
        TIMES, (1, 3, 4), (1, 2, 3), (1, 2), PADDINGS, (1, 2)
    ):
        if (stride > 1 < dilation) or (padding == "valid" and (size - 1) * dilation >= time):
            continue
        x = random.normal(size=(2, time, 4)).astype(np.float32)
        layer = L.Conv1D(6, size, stride, padding, None, dilation, groups)
        layer.build(x.shape)
        layer.set_weights([random.normal(size=w.shape) for w in layer.get_weights()])
        windows = positions(time, size, stride, dilation, padding)
        expected = convolved(x, *layer.get_weights(), windows, groups)
        assert layer.compute_output_shape(x.shape) == expected.shape
        assert layer.compute_output_shape((None, None, 4)) == (None, None, 6)
        np.testing.assert_allclose(layer(x), expected, atol=1e-4)


def test_pooling_of_all_kinds() -> None:
    random = np.random.default_rng(1)
    for time, size, stride, padding in product(TIMES, (1, 2, 3, 4), (None, 1, 2, 5), PADDINGS[:2]):
        if padding == "valid" and size > time:
            continue
        x = random.normal(size=(2, time, 3)).astype(np.float32)
        windows = positions(time, size, stride or size, 1, padding)
        seen = [x[:, [n for n in window if 0 <= n < time]] for window in windows]
        for kind, reduce in ((L.MaxPooling1D, np.max), (L.AveragePooling1D, np.mean)):
            layer = kind(size, stride, padding)
            expected = np.stack([reduce(one, axis=1) for one in seen], axis=1)
            assert layer.compute_output_shape(x.shape) == expected.shape
            np.testing.assert_allclose(layer(x), expected, atol=1e-6)
            first = kind(size, stride, padding, "channels_first")(x.swapaxes(1, 2))
            np.testing.assert_allclose(first, expected.swapaxes(1, 2), atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (0, 0, 3)])
def test_nothing(shape: tuple[int, ...]) -> None:
    layers = (L.Conv1D(4, 2, padding="same"), L.MaxPooling1D(2, 1, "same"))
    for layer in (*layers, L.Conv1D(4, 3, padding="causal"), L.AveragePooling1D(2, 2, "same")):
        assert layer(np.ones(shape)).shape == layer.compute_output_shape(shape)


def test_masks_end_with_a_warning() -> None:
    x = fm.Masked(np.ones((2, 4, 3)), np.array([[1, 1, 0, 0], [1, 1, 1, 1]]))
    for layer in (L.Conv1D(2, 1), L.MaxPooling1D(), L.AveragePooling1D(1)):
        with pytest.warns(UserWarning, match=f"Layer '{layer.name}'.*destroy the mask"):
            assert isinstance(layer(x), np.ndarray)


def test_a_large_batch_is_as_its_rows() -> None:
    x = np.random.default_rng(3).normal(size=(7, 300, 64)).astype(np.float32)
    layer = L.Conv1D(8, 9, padding="same", groups=2)  # windows of three rows do not fit into a part
    y = layer(x)
    for row in range(7):
        np.testing.assert_allclose(layer(x[row : row + 1])[0], y[row], atol=1e-5)


def test_text_classifier_of_windows() -> None:
    ids = fm.Input((None,), "int32")
    x = L.MaxPooling1D(2)(L.Conv1D(5, 3, activation="relu")(L.Embedding(20, 4)(ids)))
    model = fm.Model(ids, L.Dense(1, "sigmoid")(L.LSTM(3)(x)))
    assert x.shape == (None, None, 5)
    data = np.random.default_rng(2).integers(0, 20, (9, 11))
    whole, parts = (model.predict(data, batch_size=n, verbose=0) for n in (9, 2))
    np.testing.assert_allclose(whole, parts, atol=1e-6)
