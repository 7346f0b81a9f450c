"""Embedding, Masking, Dense and Activation: numbers, masks, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import activations

X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
MASK = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]], bool)


class TestMaskingOfNaN:
    X = np.array([[[1, 2], [np.nan, np.nan], [np.nan, 3], [0, 0]]], np.float32)
    VALID = np.array([[True, False, True, True]])

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_means_is_nan(self, dtype: str) -> None:
        layer = fm.layers.Masking(np.nan, dtype=dtype)
        y = layer(self.X)
        np.testing.assert_array_equal(y.mask, self.VALID)
        np.testing.assert_array_equal(layer.compute_mask(self.X), self.VALID)
        np.testing.assert_array_equal(y.data, np.where(self.VALID[:, :, None], self.X, 0))

    def test_never_floods_the_output(self) -> None:
        whole = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)
        x = whole.copy()
        x[1, 2:] = x[2] = np.nan
        model = fm.Sequential([fm.layers.Masking(float("nan")), fm.layers.LSTM(3)])
        y = model(x)
        assert np.isfinite(y).all()
        np.testing.assert_allclose(y[1], model(whole[1:2, :2])[0], atol=1e-6)
        assert not y[2].any()
        mean = fm.layers.GlobalAveragePooling1D()(fm.layers.Masking(np.nan)(x))
        np.testing.assert_allclose(mean[1], whole[1, :2].mean(0), atol=1e-6)

    def test_of_integers_and_in_files(self, tmp_path: Path) -> None:
        assert fm.layers.Masking(np.nan)(np.zeros((1, 2, 3), int)).mask.all()
        model = fm.Sequential([fm.layers.Masking(np.nan)])
        model(self.X)
        fm.save_model(model, tmp_path / "a.npz")
        y = fm.load_model(tmp_path / "a.npz")(self.X)
        np.testing.assert_array_equal(y.mask, self.VALID)


class TestEmbedding:
    def test_looks_up(self) -> None:
        layer = fm.layers.Embedding(5, 3)
        ids = np.array([[4, 0, 1], [2, 2, 3]])
        y = layer(ids)
        (table,) = layer.get_weights()
        np.testing.assert_array_equal(y, table[ids])
        assert y.dtype == np.float32
        assert layer(np.int64(3)).shape == (3,)
        assert layer(np.zeros((2, 3, 4), int)).shape == (2, 3, 4, 3)

    @pytest.mark.parametrize(
        "dtype", ["i1", "u1", "i2", "i4", "i8", "u8", ">i4", "f4", "f8", "f2", "?"]
    )
    def test_ids_of_any_dtype(self, dtype: str) -> None:
        ids = np.array([[1, 0, 1]]).astype(dtype)
        layer = fm.layers.Embedding(5, 3, mask_zero=True)
        y = layer(ids)
        np.testing.assert_array_equal(y.data, layer.get_weights()[0][[[1, 0, 1]]])
        assert y.mask.valid.tolist() == [[True, False, True]]

    def test_mask(self) -> None:
        ids = [[7, 0, 2], [0, 0, 0]]
        layer = fm.layers.Embedding(10, 3, mask_zero=True)
        y = layer(ids)
        assert y.mask.valid.tolist() == [[True, False, True], [False] * 3]
        np.testing.assert_array_equal(y.data[1, 0], layer.get_weights()[0][0])
        np.testing.assert_array_equal(np.asarray(layer.compute_mask(np.array(ids))), y.mask.valid)
        assert fm.layers.Embedding(10, 3).compute_mask(np.array(ids)) is None

    def test_mask_of_the_ids(self) -> None:
        ids = fm.Masked(np.array([[1, 0, 2]]), [[1, 1, 0]])
        with pytest.warns(UserWarning, match="destroy the mask information"):
            assert fm.get_mask(fm.layers.Embedding(10, 3)(ids)) is None
        with pytest.warns(UserWarning, match="1 of 3 steps, masked in its inputs"):
            made = fm.layers.Embedding(10, 3, mask_zero=True)(ids)
        assert made.mask.valid.tolist() == [[True, False, True]]

    @pytest.mark.parametrize(
        ("ids", "error", "words"),
        [
            ([[1, 5]], ValueError, r"'emb' must be ids from 0 to 4, but one is 5"),
            ([[1, -1]], ValueError, r"'emb' must be ids from 0 to 4, but one is -1"),
            ([[1.5]], ValueError, "must hold integers, but one is 1.5"),
            ([[np.nan]], ValueError, "must hold integers, but one is nan"),
            ([[np.inf]], ValueError, "must hold integers, but one is inf"),
            ([[1e300]], ValueError, "must hold integers, but one is 1e"),
            ([[2.0**63]], ValueError, r"must hold integers, but one is 9\.22"),
            ([["a"]], TypeError, "must hold integers, not dtype <U1"),
            (np.array([[None]]), TypeError, "must hold integers, not dtype object"),
            ([[1], [1, 2]], ValueError, "inputs must be an array, but its rows differ"),
            (np.array([[2**63]], np.uint64), ValueError, "more than int64 can hold"),
        ],
    )
    def test_refuses(self, ids: Any, error: type[Exception], words: str) -> None:
        layer = fm.layers.Embedding(5, 3, name="emb")
        with pytest.raises(error, match=words):
            layer(ids)

    def test_refuses_shapes_without_a_mask(self) -> None:
        with pytest.raises(ValueError, match=r"must have shape \(batch, time\) to make a mask"):
            fm.layers.Embedding(5, 3, mask_zero=True)([1, 2])

    def test_empty(self) -> None:
        y = fm.layers.Embedding(5, 3, mask_zero=True)(np.zeros((0, 4), int))
        assert y.shape == (0, 4, 3)

    def test_refuses_options(self) -> None:
        with pytest.raises(ValueError, match="input_dim must be at least 1, not 0"):
            fm.layers.Embedding(0, 3)
        with pytest.raises(TypeError, match="output_dim must be an integer"):
            fm.layers.Embedding(3, 2.5)  # type: ignore[arg-type]  # on purpose


class TestMasking:
    @pytest.mark.parametrize("value", [0.0, -1.0, 0.1, 7])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
    def test_mask_and_data(self, value: float, dtype: type) -> None:
        x = np.where(MASK[:, :, None], 3, value).astype(dtype)
        y = fm.layers.Masking(value)(x)
        hidden = MASK if dtype(value) == value or dtype is np.float32 else MASK | True
        np.testing.assert_array_equal(y.mask.valid, hidden)
        np.testing.assert_array_equal(y.data, np.where(hidden[:, :, None], x, 0))
        assert y.dtype == (np.int32 if dtype is np.int32 else np.float32)

    def test_one_feature_is_enough(self) -> None:
        y = fm.layers.Masking()([[[0.0, 1.0], [0.0, 0.0], [0.0, -0.0], [np.nan, 0.0]]])
        assert y.mask.valid.tolist() == [[True, False, False, True]]

    def test_ignores_a_mask(self) -> None:
        with pytest.warns(UserWarning, match="makes a mask of its own instead, as in Keras"):
            y = fm.layers.Masking()(fm.Masked(np.ones((3, 4, 2)), MASK))
        assert y.mask.valid.all()

    def test_compute_mask(self) -> None:
        layer = fm.layers.Masking()
        x = np.where(MASK[:, :, None], X, 0)
        np.testing.assert_array_equal(np.asarray(layer.compute_mask(x)), MASK)

    def test_empty(self) -> None:
        assert fm.layers.Masking()(np.zeros((0, 4, 2))).mask.shape == (0, 4)
        assert not fm.layers.Masking()(np.zeros((2, 3, 0))).mask.valid.any()

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match=r"must have shape .*not \(2, 3\)"):
            fm.layers.Masking()(np.zeros((2, 3)))
        with pytest.raises(TypeError, match="inputs must hold real numbers, not dtype object"):
            fm.layers.Masking()(X.astype(object))
        with pytest.raises(TypeError, match="mask_value must be a number, not 'a'"):
            fm.layers.Masking("a")  # type: ignore[arg-type]  # on purpose


class TestDense:
    @pytest.mark.parametrize("shape", [(3, 2), (3, 4, 2), (3, 4, 5, 2), (0, 2), (3, 0, 2)])
    def test_computes(self, shape: tuple[int, ...]) -> None:
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        layer = fm.layers.Dense(6, activation="relu")
        y = layer(x)
        kernel, bias = layer.get_weights()
        np.testing.assert_allclose(y, np.maximum(x @ kernel + bias, 0), atol=1e-6)
        assert y.dtype == np.float32

    def test_without_bias(self) -> None:
        layer = fm.layers.Dense(6, use_bias=False)
        np.testing.assert_allclose(layer(X), X @ layer.get_weights()[0], atol=1e-6)

    def test_passes_the_mask_on(self) -> None:
        x = fm.Masked(X, MASK)
        assert fm.layers.Dense(6)(x).mask is x.mask

    def test_layouts(self) -> None:
        layer = fm.layers.Dense(3)
        expected = layer(X)
        for x in (np.asfortranarray(X), X.astype(">f4"), X.repeat(2, axis=0)[::2]):
            np.testing.assert_array_equal(layer(x), expected)
        np.testing.assert_allclose(layer(np.ones((2, 2), int)), layer(np.ones((2, 2))))

    def test_refuses(self) -> None:
        layer = fm.layers.Dense(3, name="out")
        layer.build((None, 2))
        with pytest.raises(ValueError, match=r"'out' must have shape \(batch, ..., 2\), not"):
            layer(np.ones((2, 3)))
        with pytest.raises(ValueError, match=r"not \(2,\)"):
            layer(np.ones(2))
        with pytest.raises(TypeError, match="not dtype object"):
            layer(np.ones((2, 2), object))
        with pytest.raises(ValueError, match="input_shape must be"):
            fm.layers.Dense(3).build((None, None))
        with pytest.raises(ValueError, match="activation must be one of"):
            fm.layers.Dense(3, activation="no")


class TestActivation:
    def test_passes_the_mask_on(self) -> None:
        x = fm.Masked(X, MASK)
        y = fm.layers.Activation("tanh")(x)
        assert y.mask is x.mask
        np.testing.assert_allclose(y.data, np.tanh(X), atol=1e-6)

    def test_takes_functions(self) -> None:
        np.testing.assert_array_equal(fm.layers.Activation(np.negative)(X), -X)
        np.testing.assert_array_equal(fm.layers.Activation(None)(X), X)
        assert fm.layers.Activation(activations.relu).get_config()["activation"] == "relu"

    def test_known_values(self) -> None:
        x = np.float32([[-4, -1, -0.0, 0.5, 4, 8]])
        known = {
            "relu": [0, 0, 0, 0.5, 4, 8],
            "relu6": [0, 0, 0, 0.5, 4, 6],
            "leaky_relu": [-0.8, -0.2, 0, 0.5, 4, 8],
            "hard_sigmoid": [0, 1 / 3, 0.5, 3.5 / 6, 1, 1],
            "hard_sigmoid_keras2": [0, 0.3, 0.5, 0.6, 1, 1],
            "sigmoid": [0.01798621, 0.26894142, 0.5, 0.62245933, 0.98201379, 0.99966465],
            "elu": [-0.98168436, -0.63212056, 0, 0.5, 4, 8],
            "selu": [-1.72589862, -1.11133074, 0, 0.52535049, 4.20280395, 8.40560790],
            "gelu": [-1.2668496e-4, -0.15865525, 0, 0.34573123, 3.99987332, 8],
            "softplus": [0.01814993, 0.31326169, 0.69314718, 0.97407698, 4.01814993, 8.00033541],
            "silu": [-0.07194484, -0.26894142, 0, 0.31122967, 3.92805516, 7.99731720],
        }
        for name, expected in known.items():
            y = fm.layers.Activation(name)(x)
            np.testing.assert_allclose(y[0], expected, atol=1e-6, err_msg=name)
            assert y.dtype == np.float32

    @pytest.mark.parametrize("name", sorted(activations._BY_NAME))
    def test_extremes_and_dtypes(self, name: str) -> None:
        x = np.array([[-1e4, -90.0, -1e-9, 0.0, 1e-9, 90.0, 1e4]])
        function = activations.get(name)
        with np.errstate(over="ignore" if name == "exponential" else "warn"):
            assert not np.isnan(function(x)).any()
            assert function(x.astype(np.float32)).dtype == np.float32
            assert function(x[:0]).shape == (0, 7)

    def test_softmax_rows_sum_to_one(self) -> None:
        y = fm.layers.Activation("softmax")(X * 100)
        np.testing.assert_allclose(y.sum(axis=-1), 1, atol=1e-6)


@pytest.mark.optional
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
class TestAgainstKeras:
    """The small layers against Keras, if it is installed."""

    @pytest.fixture(autouse=True)
    def _keras(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        pytest.importorskip("torch", reason="torch is not installed")
        self.keras = pytest.importorskip("keras", reason="keras is not installed")

    def both(self, ours: fm.layers.Layer, theirs: Any, x: Any) -> tuple[Any, Any]:
        theirs.build(x.shape)
        ours.build(x.shape)
        ours.set_weights(theirs.get_weights())
        return ours(x), theirs(self.keras.ops.convert_to_tensor(x))

    def test_dense(self) -> None:
        for name in sorted({*activations._BY_NAME} - {"hard_sigmoid_keras2"}):
            layer = self.keras.layers.Dense(5, activation=name)
            ours, theirs = self.both(fm.layers.Dense(5, activation=name), layer, X)
            theirs = theirs.detach().numpy()
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=name)

    @pytest.mark.parametrize("value", [0.0, -1.0])
    def test_masking(self, value: float) -> None:
        x = np.where(MASK[:, :, None], X, np.float32(value))
        ours, theirs = self.both(fm.layers.Masking(value), self.keras.layers.Masking(value), x)
        np.testing.assert_array_equal(ours.data, theirs.numpy())
        np.testing.assert_array_equal(ours.mask.valid, theirs._keras_mask.numpy())

    def test_embedding(self) -> None:
        ids = np.random.default_rng(0).integers(0, 5, (4, 6))
        ours, theirs = self.both(
            fm.layers.Embedding(5, 3, mask_zero=True),
            self.keras.layers.Embedding(5, 3, mask_zero=True),
            ids,
        )
        np.testing.assert_array_equal(ours.data, theirs.detach().numpy())
        np.testing.assert_array_equal(ours.mask.valid, theirs._keras_mask.numpy())
