"""Every layer against Keras: its outputs, its masks, and what becomes of a mask it drops.

Where fastmask differs from Keras on purpose, the test says so: `GlobalAveragePooling1D` gives 0,
not NaN, for a row without a valid step, and a merge layer that drops a mask warns.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

from . import golden, layer_zoo

HOLED = golden.MASKS["holed"]
ROWOFF = golden.MASKS["rowoff"]
assert HOLED is not None
assert ROWOFF is not None
X = np.random.default_rng(0).normal(size=(golden.B, golden.T, golden.F)).astype(np.float32)
NAN = np.where(ROWOFF[:, :, None], X, np.float32(np.nan))
POOLED = {"average_pooling", "average_pooling_keepdims"}
USED_UP = POOLED | {
    "lstm",
    "gru",
    "gru_before",
    "simple_rnn",
    "rnn",
    "rnn_stack_backwards",
    "bidirectional",
}
LAYERS = sorted(set(fm.layers.__all__) - {"Layer"})


def built(name: str) -> Any:
    """The layer of a case, with the case's weights."""
    layer = layer_zoo.CASES[name].make(fm.layers)
    shapes = [array.shape for array in layer_zoo.inputs(name)]
    layer.build(shapes if len(shapes) > 1 else shapes[0])
    layer.set_weights(layer_zoo.weights(name, layer.get_weights()))
    return layer


def called_on(name: str, masks: str) -> Any:
    """What the layer of a case is called on."""
    pairs = zip(layer_zoo.inputs(name), layer_zoo.masks_for(name, masks), strict=True)
    inputs = [x if mask is None else fm.Masked(x, mask) for x, mask in pairs]
    return inputs if len(inputs) > 1 else inputs[0]


def quietly(layer: Any, inputs: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return layer(inputs, **options)


# In Keras masked steps count in these, here they do not: see test_norms_over_time.py.
OVER_TIME = (
    "layer_norm_axes",
    "group_norm",
    "group_norm_instance",
    "group_norm_time",
    "unit_norm_axes",
)


@pytest.mark.parametrize("name", layer_zoo.CASES)
def test_equals_keras(name: str) -> None:
    for masks in layer_zoo.masks_of(name) if name not in OVER_TIME else ("none",):
        compare(name, masks)


def compare(name: str, masks: str) -> None:
    keras = layer_zoo.expected(name, masks)
    layer = built(name)
    y = quietly(layer, called_on(name, masks), training=layer_zoo.CASES[name].training)
    data = y.data if isinstance(y, fm.Masked) else y
    assert data.dtype == np.float32
    output = np.nan_to_num(keras.output) if name in POOLED else keras.output
    np.testing.assert_allclose(data, output, rtol=0, atol=1e-5, err_msg=masks)
    if keras.mask is None:
        assert isinstance(y, np.ndarray), masks
    else:
        np.testing.assert_array_equal(fm.get_mask(y).valid, keras.mask, err_msg=masks)
    for ours, theirs in zip(layer.get_weights(), keras.weights or layer.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5, err_msg=masks)


@pytest.mark.optional
@pytest.mark.timeout(300)  # Keras computes every layer, in a process of its own
def test_keras_still_answers_so() -> None:
    if not all(map(importlib.util.find_spec, ("keras", "torch"))):
        pytest.skip("needs the extras keras and torch")
    if tuple(map(int, importlib.metadata.version("keras").split(".")[:2])) >= (3, 16):
        pytest.skip("the stored masks are those of Keras 3.15")
    script = Path(__file__).parent / "data" / "make_layer_golden.py"
    # A process of its own, because Keras reads the choice of a backend once, when it is imported.
    check = subprocess.run(
        [sys.executable, str(script), "--check"],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize(
    ("name", "masks"), [one for one in layer_zoo.ALL if one[1] in ("holed", "left+none")]
)
def test_a_dropped_mask_warns_by_name(name: str, masks: str) -> None:
    case = layer_zoo.CASES[name]
    layer, inputs = built(name), called_on(name, masks)
    drops = layer_zoo.expected(name, masks).mask is None and name not in USED_UP
    for again in (False, True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            layer(inputs, training=case.training)
        sentence = f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with"
        assert [str(w.message).startswith(sentence) for w in caught] == [True] * (
            drops and not again
        )


@pytest.mark.parametrize("name", layer_zoo.CASES)
def test_float64(name: str) -> None:
    layer = layer_zoo.CASES[name].make(fm.layers)
    layer = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
    inputs = [x.astype(np.float64) for x in layer_zoo.inputs(name)]
    y = layer(inputs if len(inputs) > 1 else inputs[0])
    y = y.data if isinstance(y, fm.Masked) else y
    inner = getattr(layer, "layer", layer)  # which computes in its own dtype
    if inner is layer or name == "time_distributed_flatten":
        assert y.dtype == np.dtype(inner.dtype)


@pytest.mark.parametrize("name", layer_zoo.CASES)
def test_shape_is_told_and_the_layer_can_be_made_again(name: str) -> None:
    layer = built(name)
    inputs = called_on(name, "none")
    shapes = [x.shape for x in inputs] if isinstance(inputs, list) else inputs.shape
    y = quietly(layer, inputs)
    assert tuple(layer.compute_output_shape(shapes)) == y.shape
    again = type(layer).from_config(layer.get_config())
    again.build(shapes)
    again.set_weights(layer.get_weights())
    same = quietly(again, inputs)
    np.testing.assert_array_equal(*(getattr(one, "data", one) for one in (same, y)))


@pytest.mark.parametrize("name", [n for n, c in layer_zoo.CASES.items() if len(c.shapes) == 1])
def test_saves(name: str, tmp_path: Path) -> None:
    model = fm.Sequential([built(name)])
    if name.startswith("lambda"):
        with pytest.raises(ValueError, match="cannot be saved"):
            fm.save_model(model, tmp_path / "m.npz")
        return
    fm.save_model(model, tmp_path / "m.npz")
    again = fm.load_model(tmp_path / "m.npz")
    x = called_on(name, "right")
    ours, theirs = (quietly(one, x) for one in (model, again))
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    if isinstance(ours, fm.Masked):
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        ours, theirs = ours.data, theirs.data
    np.testing.assert_array_equal(ours, theirs)


def test_every_layer_is_compared() -> None:
    inside = {"LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"}  # of RNN
    compared = {type(case.make(fm.layers)).__name__ for case in layer_zoo.CASES.values()}
    # Keras's RMSNormalization loses masks; test_rms_normalization.py compares its numbers.
    assert compared >= set(LAYERS) - inside - {"Embedding", "RMSNormalization"}


class TestNanAtMaskedSteps:
    """A layer that uses the mask does not look at what masked steps hold."""

    def test_average_pooling(self) -> None:
        y = fm.layers.GlobalAveragePooling1D()(fm.Masked(NAN, ROWOFF))
        expected = np.where(ROWOFF[:, :, None], X, 0).sum(1) / np.maximum(ROWOFF.sum(1), 1)[:, None]
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
        assert (y[1] == 0).all()

    @pytest.mark.parametrize("axis", [1, -1, [1, 2]])
    def test_softmax(self, axis: Any) -> None:
        layer = fm.layers.Softmax(axis)
        y = layer(fm.Masked(NAN, ROWOFF)).data
        np.testing.assert_array_equal(y, layer(fm.Masked(X, ROWOFF)).data)
        assert (y[~ROWOFF] == 0).all()
        if axis == 1:
            valid_rows = ROWOFF.any(1)
            np.testing.assert_allclose(y.sum(1)[valid_rows], 1, rtol=1e-6)

    @pytest.mark.parametrize("shape", [(4, 5, 6, 6), (1, 1, 6, 6), (4, 1, 1, 6), (6, 1), (6,)])
    @pytest.mark.parametrize("axis", [-1, [2, 3]])
    def test_softmax_with_a_mask_of_numbers(self, shape: tuple[int, ...], axis: Any) -> None:
        random = np.random.default_rng(3)
        x = random.normal(size=(4, 5, 6, 6)).astype(np.float32)
        mask = random.random(shape) < 0.6
        layer = fm.layers.Softmax(axis)
        full = np.broadcast_to(mask, x.shape)
        y = layer(np.where(full, x, np.nan), mask=mask)
        powers = np.where(full, np.exp(x), 0)
        axes = tuple(np.atleast_1d(axis).tolist())
        total = powers.sum(axis=axes, keepdims=True)
        expected = np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)
        np.testing.assert_allclose(y.data, expected, atol=1e-6)
        np.testing.assert_array_equal(y.mask.valid, full.any((2, 3)))
        np.testing.assert_array_equal(layer(x, mask=mask.astype(np.float32)).data, y.data)

    def test_softmax_with_a_mask_of_numbers_in_a_graph(self) -> None:
        x, mask = fm.Input((2, 4, 4)), fm.Input((1, 4, 4), "bool")
        model = fm.Model([x, mask], fm.layers.Softmax()(x, mask=mask))
        data = np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float32)
        causal = np.broadcast_to(np.tril(np.ones((4, 4), np.bool_)), (3, 1, 4, 4))
        y = model([data, causal])
        np.testing.assert_array_equal(y.data, fm.layers.Softmax()(data, mask=causal).data)
        assert [row.did for row in fm.trace_masks(model, [data, causal])] == ["used, changed"]
        with pytest.raises(ValueError, match="mask has shape"):
            fm.layers.Softmax()(x, mask=fm.Input((3, 4, 4)))
        constant = fm.Model(x, fm.layers.Softmax()(x, mask=causal[0]))
        np.testing.assert_array_equal(constant(data).data, y.data)

    def test_softmax_without_a_mask_shows_nan(self) -> None:
        assert np.isnan(fm.layers.Softmax(axis=1)(NAN)).any()

    def test_softmax_of_large_numbers(self) -> None:
        y = fm.layers.Softmax(axis=1)(fm.Masked([[[900.0], [900.0], [1e30]]], [[1, 1, 0]]))
        np.testing.assert_array_equal(y.data[0, :, 0], [0.5, 0.5, 0])

    def test_batch_normalization(self) -> None:
        clean, dirty = (fm.layers.BatchNormalization() for _ in range(2))
        y = dirty(fm.Masked(NAN, ROWOFF), training=True).data
        expected = clean(fm.Masked(X, ROWOFF), training=True).data
        np.testing.assert_array_equal(y[ROWOFF], expected[ROWOFF])
        for one, other in zip(dirty.get_weights(), clean.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("kind", ["Multiply", "Maximum", "Minimum"])
    def test_merges_that_ignore_masked_values(self, kind: str) -> None:
        layer = getattr(fm.layers, kind)()
        other = fm.Masked(X[::-1], HOLED)
        y = layer([fm.Masked(NAN, ROWOFF), other])
        union = ROWOFF | HOLED
        np.testing.assert_array_equal(y.mask.valid, union)
        expected = layer([fm.Masked(X, ROWOFF), other]).data
        np.testing.assert_array_equal(y.data[union], expected[union])
        assert np.isfinite(y.data[union]).all()

    def test_time_distributed_batch_normalization(self) -> None:
        layers = [fm.layers.TimeDistributed(fm.layers.BatchNormalization()) for _ in range(2)]
        results = [
            layer(fm.Masked(x, ROWOFF), training=True).data[ROWOFF]
            for layer, x in zip(layers, (X, NAN), strict=True)
        ]
        np.testing.assert_array_equal(*results)


class TestDropoutInTraining:
    ONES = np.ones((50, 40, 6), np.float32)

    def test_drops_and_scales(self) -> None:
        layer = fm.layers.Dropout(0.25, seed=3)
        y, z = (layer(self.ONES, training=True) for _ in range(2))
        assert set(np.unique(y).tolist()) == {0.0, np.float32(1 / 0.75)}
        assert abs((y == 0).mean() - 0.25) < 0.02
        assert (y != z).any()
        again = fm.layers.Dropout(0.25, seed=3)(self.ONES, training=True)
        np.testing.assert_array_equal(again, y)
        assert y.dtype == np.float32

    def test_noise_shape(self) -> None:
        y = fm.layers.Dropout(0.5, noise_shape=(None, 1, None), seed=0)(self.ONES, training=True)
        np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
        assert 0 < (y == 0).mean() < 1
        with pytest.raises(
            ValueError, match=r"'d' have shape \(50, 40, 6\).*noise of shape \(2,\)"
        ):
            fm.layers.Dropout(0.5, noise_shape=[2], name="d")(self.ONES, training=True)

    def test_spatial(self) -> None:
        y = fm.layers.SpatialDropout1D(0.5, seed=0)(
            fm.Masked(self.ONES, self.ONES[:, :, 0]), training=True
        )
        np.testing.assert_array_equal(y.data, np.broadcast_to(y.data[:, :1], y.shape))
        assert 0 < (y.data == 0).mean() < 1

    def test_gaussian(self) -> None:
        noise = fm.layers.GaussianNoise(0.5, seed=0)(self.ONES, training=True)
        times = fm.layers.GaussianDropout(0.2, seed=0)(self.ONES, training=True)
        for y in (noise, times):
            assert y.dtype == np.float32
            assert abs(y.mean() - 1) < 0.02
            assert abs(y.std() - 0.5) < 0.02

    def test_alpha_keeps_mean_and_variance(self) -> None:
        x = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
        y = fm.layers.AlphaDropout(0.3, seed=0)(x, training=True)
        assert abs(y.mean()) < 0.02
        assert abs(y.std() - 1) < 0.02
        assert y.dtype == np.float32


class TestLayersOfTheirOwn:
    def test_layer_norm_over_time(self) -> None:
        """Keras's torch backend fails on it."""
        y = fm.layers.LayerNormalization(axis=1, epsilon=0.0)(X)
        np.testing.assert_allclose(
            y, (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True), atol=1e-5
        )

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
        if name in ("flatten", "flatten_first", "reshape", "group_norm_time", "layer_norm_axes"):
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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda L: L.ReLU(-1.0), ValueError, "max_value must not be negative"),
        (lambda L: L.LeakyReLU("a"), TypeError, "negative_slope must be a number"),
        (lambda L: L.PReLU(shared_axes=[3])(X), ValueError, r"shared_axes.*among \[1, 2\]"),
        (lambda L: L.PReLU().build((None, None, 3)), ValueError, "axis 1.*known size"),
        (lambda L: L.Softmax("time"), TypeError, "axis must be an integer"),
        (lambda L: L.Softmax(3)(X), ValueError, "axis of layer.* is 3.* 3 axes"),
        (lambda L: L.Softmax([1, 1])(X), ValueError, "twice"),
        (lambda L: L.Softmax()(X, mask=np.ones((5, 6, 2))), ValueError, r"\(5, 6, 2\).*broadcast"),
        (lambda L: L.Softmax()(X, mask=np.ones((1, 5, 6, 3))), ValueError, "broadcast to it"),
        (lambda L: L.Softmax()(X, mask=[["a"]]), TypeError, "mask must be bool, integer or float"),
        (lambda L: L.BatchNormalization(renorm=True), ValueError, "renorm must be False"),
        (lambda L: L.BatchNormalization(synchronized=True), ValueError, "synchronized must be F"),
        (lambda L: L.BatchNormalization(renorm_clipping={}), ValueError, "renorm_clipping must be"),
        (lambda L: L.Dense(2, kernel_regularizer="l2"), ValueError, "kernel_regularizer of Dense"),
        (lambda L: L.Dense(2, trainable=2), TypeError, "trainable must be True or False"),
        (lambda L: L.Dense(2, autocast=False), ValueError, "autocast of Dense must be True"),
        (lambda L: L.Dense(2, weights=[1]), ValueError, "set_weights.weights. sets them as soon"),
        (lambda L: L.Embedding(3, 2, lora_rank=4), ValueError, "lora_rank of Embedding must be N"),
        (lambda L: L.Dense(2, units_of=1), TypeError, "Dense.* unexpected keyword.*'units_of'"),
        (lambda L: L.BatchNormalization(synchronized=1.5), TypeError, "synchronized must be True"),
        (lambda L: L.Dropout(1.5), ValueError, "rate must be between"),
        (lambda L: L.Dropout(0.5, noise_shape="a"), TypeError, "noise_shape"),
        (lambda L: L.GaussianDropout(1.0), ValueError, "rate must be less than 1"),
        (lambda L: L.GroupNormalization()(X), ValueError, "32 does not divide 3"),
        (lambda L: L.GroupNormalization(0), ValueError, "groups must be at least 1"),
        (lambda L: L.BatchNormalization([1, 2]), TypeError, "axis must be an integer"),
        (lambda L: L.LayerNormalization().build((None, 4, None)), ValueError, "known size"),
        (lambda L: L.Normalization(mean=1.0), ValueError, "both be given"),
        (lambda L: L.Normalization(mean=[1.0, 2.0], variance=[1.0, 2.0])(X), ValueError, "mean of"),
        (lambda L: L.TimeDistributed("dense"), TypeError, "layer must be a fastmask Layer"),
        (lambda L: L.TimeDistributed(L.Dense(2))(X[0]), ValueError, "three axes"),
        (lambda L: L.GlobalAveragePooling1D()(X[0]), ValueError, "batch, time, features"),
        (lambda L: L.GlobalAveragePooling1D("last"), ValueError, "data_format must be one of"),
        (lambda L: L.GlobalMaxPooling1D()(X[:, :0]), ValueError, "have no step"),
        (lambda L: L.Add()(X), ValueError, "must be a list of one or more arrays"),
        (lambda L: L.Add().compute_mask([], []), ValueError, "must be a list of one or more"),
        (lambda L: L.Multiply().compute_mask((), ()), ValueError, "must be a list of one or more"),
        (lambda L: L.Concatenate().compute_mask([], []), ValueError, "list of one or more"),
        (lambda L: L.Add()([X, X[:, :4]]), ValueError, r"fit together: \(5, 6, 3\), \(5, 4, 3\)"),
        (lambda L: L.Subtract()([X, X, X]), ValueError, "exactly 2 arrays, not 3"),
        (lambda L: L.Concatenate()([X, X[:, :4]]), ValueError, "fit together"),
        (lambda L: L.Concatenate([1]), TypeError, "axis must be an integer"),
        (lambda L: L.Dot((1, 2, 3)), ValueError, "an integer or two of them"),
        (lambda L: L.Dot(0)([X, X]), ValueError, "batch axis"),
        (lambda L: L.Dot((1, 2))([X, X]), ValueError, "fit together"),
        (lambda L: L.Reshape((4, -1))(X[:, :5]), ValueError, "cannot be reshaped"),
        (lambda L: L.Reshape((-1, -1)), ValueError, "at most one -1"),
        (lambda L: L.Permute((0, 1)), ValueError, "dims must be at least 1"),
        (lambda L: L.Permute((1, 1)), ValueError, "each of 1, 2"),
        (lambda L: L.Permute((1,))(X), ValueError, "2 axes"),
        (lambda L: L.RepeatVector(0), ValueError, "n must be at least 1"),
        (lambda L: L.ZeroPadding1D((1, 2, 3)), ValueError, "a pair"),
        (lambda L: L.Cropping1D(3)(X), ValueError, "more than 6 steps"),
        (lambda L: L.Lambda(3), TypeError, "function must be a function"),
    ],
)
def test_misuse(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(fm.layers)


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm", "prelu", "normalization"])
def test_inputs_of_another_size(name: str) -> None:
    layer = built(name)
    with pytest.raises(ValueError, match=f"inputs of layer '{layer.name}' must"):
        layer(np.ones((5, 6, 4)))


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


def test_arguments_of_training_at_their_defaults() -> None:
    layer = fm.layers.Dense(
        *(2, "relu"),
        kernel_regularizer=None,
        bias_constraint=None,
        activity_regularizer=None,
        trainable=True,
        dtype=None,
    )
    assert layer.dtype == "float32"
    assert "trainable" not in layer.get_config()
    fm.layers.BatchNormalization(gamma_regularizer=None, renorm_momentum=0.9)
    fm.layers.Embedding(3, 2, embeddings_constraint=None, lora_rank=None)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, case in layer_zoo.CASES.items()
        if len(case.shapes) == 1 and not name.startswith(("identity", "lambda"))
    ],
)
def test_several_inputs_for_a_layer_of_one(name: str) -> None:
    case = layer_zoo.CASES[name]
    layer = case.make(fm.layers)
    message = f"layer '{layer.name}' .of type {type(layer).__name__}. takes one input, not a list"
    with pytest.raises(ValueError, match=f"{message} of 2"):
        layer([np.ones(case.shapes[0], np.float32)] * 2)
    with pytest.raises(ValueError, match=f"{message} of 1"):
        layer([fm.Input(case.shapes[0][1:])])


def test_explicit_masks_that_are_all_none() -> None:
    x = fm.Masked(X, HOLED)
    y = fm.layers.Add()([x, x], mask=[None, None])  # no mask, so none is lost, and no warning
    assert type(y) is np.ndarray


class TestChannelsFirst:
    """Global pooling of (B, F, T) under a mask (B, T)."""

    X = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    MASK = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], bool)

    def test_means(self) -> None:
        layer = fm.layers.GlobalAveragePooling1D(data_format="channels_first")
        x = np.where(self.MASK[:, None, :], self.X, np.nan)
        np.testing.assert_array_equal(layer(x, mask=self.MASK), [[0.5, 4.5, 8.5], [0, 0, 0]])
        wide = fm.layers.GlobalAveragePooling1D("channels_first", keepdims=True)
        assert wide(x, mask=self.MASK).shape == (2, 3, 1)
        last = fm.layers.GlobalAveragePooling1D(keepdims=True)(x.swapaxes(1, 2), mask=self.MASK)
        np.testing.assert_array_equal(wide(x, mask=self.MASK), last.swapaxes(1, 2))
        symbol = layer(fm.Input((3, 4)), mask=self.MASK)
        assert symbol.shape == (None, 3)
        inputs = [fm.Input((3, 4)), fm.Input((4,), "bool")]
        model = fm.Model(inputs, layer(inputs[0], mask=inputs[1]))
        np.testing.assert_array_equal(model([x, self.MASK]), layer(x, mask=self.MASK))

    def test_means_of_no_step(self) -> None:
        layer = fm.layers.GlobalAveragePooling1D("channels_first")
        np.testing.assert_array_equal(layer(self.X[:, :, :0]), np.zeros((2, 3)))
        assert layer(self.X[:, :0]).shape == (2, 0)
        no_step = layer(self.X[:, :, :0], mask=self.MASK[:, :0])
        np.testing.assert_array_equal(no_step, np.zeros((2, 3)))

    def test_masks_that_do_not_fit(self) -> None:
        layer = fm.layers.GlobalAveragePooling1D("channels_first")
        for mask in (self.MASK[:, :3], self.MASK.T):
            with pytest.raises(ValueError, match=r"mask has shape .* \(2, 4\)"):
                layer(self.X, mask=mask)
        with pytest.raises(ValueError, match=r"mask has shape \(2, 3\)"):
            layer(fm.Masked(self.X, self.MASK[:, :3]))

    def test_maxima_drop_masks(self) -> None:
        layer = fm.layers.GlobalMaxPooling1D(data_format="channels_first")
        with pytest.warns(UserWarning, match="destroy the mask"):
            y = layer(self.X, mask=self.MASK)
        np.testing.assert_array_equal(y, self.X.max(axis=2))

    @pytest.mark.optional
    @pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
    def test_equals_keras(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        pytest.importorskip("torch", reason="torch is not installed")
        keras = pytest.importorskip("keras", reason="keras is not installed")
        mask = np.array([[1, 1, 0, 1], [0, 1, 0, 0]], bool)
        ours, theirs = (
            package.layers.GlobalAveragePooling1D(data_format="channels_first")(self.X, mask=mask)
            for package in (fm, keras)
        )
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
