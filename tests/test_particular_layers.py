"""Behavior of single layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm

from . import golden, layer_zoo
from .built_layers import called_on, quietly

HOLED = golden.MASKS["holed"]
ROWOFF = golden.MASKS["rowoff"]
assert HOLED is not None
assert ROWOFF is not None
X = np.random.default_rng(0).normal(size=(golden.B, golden.T, golden.F)).astype(np.float32)
NAN = np.where(ROWOFF[:, :, None], X, np.float32(np.nan))


class TestLayersOfTheirOwn:
    def test_layer_norm_over_time(self) -> None:
        """Keras's torch backend fails on it."""
        y = fm.layers.LayerNormalization(axis=1, epsilon=0.0)(X)
        np.testing.assert_allclose(
            y, (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True), atol=1e-5
        )

    def test_softmax_of_the_numbers_that_a_mask_of_any_shape_names(self) -> None:
        counted = np.arange(golden.F) != 1
        y = fm.layers.Softmax()(X, mask=counted[None, None])
        powers = np.exp(X) * counted
        np.testing.assert_allclose(y.data, powers / powers.sum(-1, keepdims=True), atol=1e-6)
        assert y.mask.valid.all()

    def test_adapt_looks_at_valid_steps_only(self) -> None:
        layer = fm.layers.Normalization()
        layer.adapt(fm.Masked(NAN, ROWOFF))
        y = layer(X)[ROWOFF]
        np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(y.std(0), 1, atol=1e-5)
        plain = fm.layers.Normalization(axis=None)
        plain.adapt(X)
        np.testing.assert_allclose(plain(X), (X - X.mean()) / X.std(), atol=1e-5)
        with pytest.raises(ValueError, match="was given a mean"):
            fm.layers.Normalization(mean=0.0, variance=1.0).adapt(X)

    def test_lambda_takes_mask_and_training(self) -> None:
        seen = []

        def function(x: Any, mask: Any, training: bool, add: float) -> Any:
            seen.append((mask, training))
            return x + add

        layer = fm.layers.Lambda(function, mask=HOLED, arguments={"add": 1.0})
        y = layer(fm.Masked(X, ROWOFF), training=True)
        np.testing.assert_array_equal(y.data, X + 1)
        np.testing.assert_array_equal(y.mask, HOLED)
        np.testing.assert_array_equal(seen[0][0], ROWOFF)
        assert seen[0][1] is True
        shape = fm.layers.Lambda(function, output_shape=(7,)).compute_output_shape((None, 3))
        assert shape == (None, 7)
        assert fm.layers.Lambda(np.exp)(X).dtype == np.float32

    def test_time_distributed_layer_with_masks_of_its_own(self) -> None:
        documents = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
        lstm = fm.layers.LSTM(6)
        y = fm.layers.TimeDistributed(lstm)(fm.Masked(documents, [[1, 1, 0], [1, 0, 0]]))
        assert y.mask.valid.tolist() == [[True, True, False], [True, False, False]]
        np.testing.assert_allclose(y.data[:, 1], lstm(documents[:, 1]), atol=1e-6)
        assert [w.shape for w in lstm.get_weights()] == [(5, 24), (6, 24), (24,)]

    def test_time_distributed_model(self) -> None:
        ids = np.random.default_rng(0).integers(0, 9, (2, 3, 4))
        embedding = fm.layers.Embedding(9, 5, mask_zero=True)
        inner = fm.Sequential([embedding, fm.layers.LSTM(6)])
        y = fm.layers.TimeDistributed(inner)(ids)
        np.testing.assert_allclose(y[:, 2], inner(ids[:, 2]), atol=1e-6)
        with pytest.warns(UserWarning, match="destroy the mask"):
            y = fm.layers.TimeDistributed(fm.Sequential([embedding], name="words"))(ids)
        assert y.shape == (2, 3, 4, 5)
        states = fm.layers.LSTM(2, return_state=True, name="states")
        with pytest.raises(TypeError, match=r"'states' in .* must return one array, not tuple"):
            fm.layers.TimeDistributed(states)(X[:, :, :, None])

    def test_time_distributed_dropout_draws_for_every_step(self) -> None:
        y = fm.layers.TimeDistributed(fm.layers.Dropout(0.5, seed=0))(X, training=True)
        assert len({(one == 0).tobytes() for one in y.swapaxes(0, 1)}) > 1
        np.testing.assert_array_equal(fm.layers.TimeDistributed(fm.layers.Dropout(0.5))(X), X)

    def test_merging_a_vector_into_every_step(self) -> None:
        vector = X[:, 0]
        np.testing.assert_array_equal(fm.layers.Add()([X, vector]), X + vector[:, None])
        with pytest.warns(UserWarning, match="destroy the mask"):
            y = fm.layers.Multiply()([fm.Masked(X, HOLED), vector])
        expected = np.where(HOLED[:, :, None], X, 1) * vector[:, None]
        np.testing.assert_array_equal(y, expected)

    def test_merging_with_masks_of_another_shape(self) -> None:
        narrow = fm.Masked(X[:, :1], HOLED[:, :1])
        y = fm.layers.Maximum()([fm.Masked(X, HOLED), narrow])
        np.testing.assert_array_equal(y.mask, HOLED | HOLED[:, :1])
        with pytest.raises(ValueError, match="do not fit together"):
            fm.layers.Multiply()([fm.Masked(X, HOLED), fm.Masked(X[:, 0], HOLED[:, :3])])

    def test_explicit_masks_beat_carried_ones(self) -> None:
        y = fm.layers.Multiply()([fm.Masked(X, ROWOFF), X], mask=[HOLED, ROWOFF])
        expected = fm.layers.Multiply()([fm.Masked(X, HOLED), fm.Masked(X, ROWOFF)])
        np.testing.assert_array_equal(y.data, expected.data)
        np.testing.assert_array_equal(y.mask, expected.mask)

    @pytest.mark.parametrize("name", [n for n in layer_zoo.CASES if n != "prelu"])
    def test_shape_with_open_sizes(self, name: str) -> None:
        shapes = [(None, None, *x.shape[2:]) for x in layer_zoo.inputs(name)]
        sizes = layer_zoo.inputs(name)[0].shape
        if name in (
            "flatten",
            "flatten_first",
            "reshape",
            "group_norm_time",
            "layer_norm_axes",
            "conv_first",
        ):
            shapes = [(None, *sizes[1:])]
        if name in ("dot_flat", "repeat_vector"):
            shapes = [(None, sizes[1])] * len(shapes)
        layer = layer_zoo.CASES[name].make(fm.layers)
        layer.build(shapes if len(shapes) > 1 else shapes[0])
        told = layer.compute_output_shape(shapes if len(shapes) > 1 else shapes[0])
        y = quietly(layer, called_on(name, "none"))
        assert len(told) == y.ndim
        assert all(n in (None, size) for n, size in zip(told, y.shape, strict=True))
        assert told[0] is None

    def test_identity_keeps_each_mask(self) -> None:
        one, other = fm.layers.Identity()([fm.Masked(X, HOLED), X])
        np.testing.assert_array_equal(one.mask, HOLED)
        assert isinstance(other, np.ndarray)

    def test_a_pass_through_layer_copies_no_mask(self) -> None:
        x = fm.Masked(X, HOLED)
        for layer in (fm.layers.Dropout(0.5), fm.layers.ReLU(), fm.layers.LayerNormalization()):
            assert layer(x).mask is x.mask
        assert fm.layers.Add()([x, x]).mask is x.mask
        assert fm.layers.Concatenate()([x, x]).mask is x.mask

    def test_integers_stay_integers(self) -> None:
        ids = np.arange(12).reshape(3, 4)
        for layer in (fm.layers.Flatten(), fm.layers.Identity(), fm.layers.RepeatVector(2)):
            assert layer(ids).dtype == ids.dtype
        assert fm.layers.Add()([ids, ids]).dtype == ids.dtype
        assert fm.layers.Average()([ids, ids]).dtype == np.float32
        assert fm.layers.Add()([ids, ids.astype(np.float64)]).dtype == np.float32

    @pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3)])
    def test_nothing(self, shape: tuple[int, ...]) -> None:
        x = np.zeros(shape, np.float32)
        for layer in (
            *(fm.layers.Softmax(1), fm.layers.ReLU(), fm.layers.LayerNormalization()),
            *(fm.layers.TimeDistributed(fm.layers.Dense(3)), fm.layers.UnitNormalization()),
        ):
            assert layer(fm.Masked(x, np.ones(shape[:2]))).shape == shape
        pooled = fm.layers.GlobalAveragePooling1D()(fm.Masked(x, np.ones(shape[:2])))
        np.testing.assert_array_equal(pooled, np.zeros((shape[0], 3)))
        assert fm.layers.Flatten()(x).shape == (shape[0], shape[1] * 3)


def test_time_distributed_model_of_a_masked_input() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    inner = fm.Sequential([fm.layers.Dense(2)])
    y = fm.layers.TimeDistributed(inner)(fm.Masked(x, [[1, 0, 0], [1, 1, 0]]))
    np.testing.assert_array_equal(y.mask.lengths, [1, 2])
    np.testing.assert_allclose(y.data, inner(x.reshape(6, 4)).reshape(2, 3, 2), atol=1e-6)


def test_moving_moments_of_an_empty_batch_stay() -> None:
    layer = fm.layers.BatchNormalization()
    layer(np.random.default_rng(0).normal(size=(4, 3, 2)), training=True)
    before = layer.get_weights()
    layer(np.ones((0, 3, 2)), training=True)
    for a, b in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_group_normalization_of_no_steps() -> None:
    assert fm.layers.GroupNormalization(2)(np.ones((3, 0, 4))).shape == (3, 0, 4)


def test_explicit_masks_that_are_all_none() -> None:
    x = fm.Masked(X, HOLED)
    y = fm.layers.Add()([x, x], mask=[None, None])  # no mask, so none is lost, and no warning
    assert type(y) is np.ndarray


def test_normalization_of_another_number_of_axes() -> None:
    layer = fm.layers.Normalization()
    a, b = np.random.default_rng(2).normal(size=(2, 8, 3))
    layer.adapt([a, b])
    both = np.concatenate([a, b])
    expected = (a - both.mean(axis=0)) / both.std(axis=0)
    np.testing.assert_allclose(layer(a), expected, atol=1e-5)
