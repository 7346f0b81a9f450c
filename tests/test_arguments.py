"""Arguments of Keras's layers: dtypes, input shapes, weights, `trainable`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers import GRU, LSTM, Bidirectional, Dense, Embedding, TimeDistributed


class TestDtype:
    @pytest.mark.parametrize(
        "dtype",
        [
            "float64",
            np.float64,
            float,
            np.dtype("float64"),
            np.dtype(">f8"),
            SimpleNamespace(name="float64"),
            {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float64"}},
        ],
        ids=str,
    )
    def test_ways_to_say_it(self, dtype: Any) -> None:
        for layer in (Dense(2, dtype=dtype), LSTM(2, dtype=dtype)):
            assert layer.dtype == "float64"
            assert layer(np.ones((1, 2, 3))).dtype == np.float64
            assert type(layer).from_config(layer.get_config()).dtype == "float64"

    @pytest.mark.parametrize(
        "dtype",
        ["float16", np.int32, int, "f8", SimpleNamespace(name="mixed_float16"), 64, {}, object, []],
        ids=str,
    )
    def test_others(self, dtype: Any) -> None:
        with pytest.raises(ValueError, match="dtype must be one of 'float32', 'float64', not"):
            Dense(2, dtype=dtype)


class TestFirstShape:
    @pytest.mark.parametrize(
        "told",
        [
            {"input_shape": (None, 3)},
            {"input_shape": [5, 3]},
            {"batch_input_shape": (8, 5, 3)},
        ],
        ids=str,
    )
    def test_builds_the_model(self, told: dict[str, Any]) -> None:
        first: list[Any] = [
            LSTM(4, return_sequences=True, **told),
            TimeDistributed(Dense(4), **told),
            Bidirectional(GRU(2, return_sequences=True), **told),
            fm.layers.Masking(**told),
        ]
        for layer in first:
            model = fm.Sequential([layer, LSTM(2)])
            assert model.built
            expected = 4 * 2 * (model.layers[0].compute_output_shape((None, None, 3))[-1] + 2 + 1)
            assert model.layers[1].count_params() == expected
            assert model(np.ones((7, 5, 3))).shape == (7, 2)

    def test_input_dim(self) -> None:
        model = fm.Sequential([Dense(2, input_dim=5), Dense(1)])
        assert [w.shape for w in model.get_weights()] == [(5, 2), (2,), (2, 1), (1,)]

    def test_of_an_embedding(self) -> None:
        model = fm.Sequential()
        model.add(Embedding(9, 4, input_length=6, input_shape=(None,), mask_zero=True))
        model.add(LSTM(2))
        assert model.built
        assert model([[1, 2, 0]]).shape == (1, 2)

    def test_only_the_first_counts(self) -> None:
        model = fm.Sequential([Dense(2), Dense(3, input_shape=(7,))])
        assert not model.built
        assert model(np.ones((1, 4))).shape == (1, 3)

    def test_goes_round(self, tmp_path: Path) -> None:
        model = fm.Sequential([LSTM(4, input_shape=(None, 3))])
        fm.save_model(model, tmp_path / "a.npz")
        again = fm.load_model(tmp_path / "a.npz")
        np.testing.assert_array_equal(again(np.ones((1, 2, 3))), model(np.ones((1, 2, 3))))

    def test_refuses(self) -> None:
        with pytest.raises(TypeError, match="input_shape must be a tuple of sizes without the bat"):
            Dense(2, input_shape=3)
        with pytest.raises(TypeError, match="each size of input_shape must be an integer"):
            Dense(2, input_shape=("a",))
        with pytest.raises(ValueError, match="only one of input_shape, input_dim must be given"):
            Dense(2, input_shape=(3,), input_dim=3)  # type: ignore[call-arg]  # Keras has it


class TestEmbedding:
    def test_build_without_a_shape(self, tmp_path: Path) -> None:
        for shape in ((), (None,), ((None, 7),)):
            layer = Embedding(5, 2)
            layer.build(*shape)
            assert layer.get_weights()[0].shape == (5, 2)
            fm.save_model(layer, tmp_path / "a.npz")
            again = fm.load_model(tmp_path / "a.npz")
            np.testing.assert_array_equal(again([[1, 4]]), layer([[1, 4]]))
        with pytest.raises(TypeError, match="build of layer 'reader' needs input_shape"):
            LSTM(3, name="reader").build()  # type: ignore[call-arg]  # on purpose

    def test_weights(self) -> None:
        table = np.arange(10.0).reshape(5, 2)
        for given in (table, [table], [table.tolist()], table.tolist(), (table,)):
            layer = Embedding(5, 2, weights=given, trainable=False)
            assert layer.built
            np.testing.assert_array_equal(layer([[4, 0]]), [[[8, 9], [0, 1]]])
            assert "weights" not in layer.get_config()
        one = Embedding(1, 2, weights=[[1.0, 2.0]])
        np.testing.assert_array_equal(one([[0]]), [[[1, 2]]])
        for bad in (table.T, [table, table], [], "table"):
            with pytest.raises((ValueError, TypeError), match="weights"):
                Embedding(5, 2, weights=bad)

    def test_of_another_layer(self) -> None:
        with pytest.raises(ValueError, match=r"(?s)weights of Dense must be None.*set_weights"):
            Dense(2, weights=[np.ones((2, 2))])  # type: ignore[call-arg]  # Keras had it


class TestTrainable:
    def test_a_frozen_batch_normalization_does_not_learn(self, tmp_path: Path) -> None:
        x = np.random.default_rng(1).normal(3, 2, size=(20, 4)).astype(np.float32)
        frozen = fm.layers.BatchNormalization(trainable=False)
        np.testing.assert_allclose(frozen(x, training=True), frozen(x), rtol=0, atol=0)
        assert frozen.get_config()["trainable"] is False
        fm.save_model(frozen, tmp_path / "a.npz")
        assert fm.load_model(tmp_path / "a.npz").trainable is False
        frozen.trainable = True
        assert abs(frozen(x, training=True).mean()) < 1e-5

    def test_reaches_what_is_inside(self) -> None:
        norm = fm.layers.BatchNormalization()
        model = fm.Sequential([TimeDistributed(norm)])
        assert model.trainable
        assert norm.trainable
        model.trainable = False
        assert not norm.trainable
        with pytest.raises(TypeError, match="trainable must be True or False"):
            model.trainable = "no"  # type: ignore[assignment]  # on purpose


def test_others_of_keras() -> None:
    assert fm.layers.LeakyReLU(alpha=0.5).negative_slope == 0.5
    LSTM(3, implementation=1, autocast=True)
    fm.layers.LSTMCell(3, implementation=2)
    for x in (
        fm.Input((None, 3), batch_size=4),
        fm.Input(batch_shape=(4, None, 3)),
        fm.Input((None, 3), dtype=None),
    ):
        assert (x.shape, x.dtype) == ((None, None, 3), np.float32)
    with pytest.raises(ValueError, match="only one of shape and batch_shape"):
        fm.Input((3,), batch_shape=(None, 3))
    with pytest.raises(TypeError, match="shape must be a tuple of sizes without the batch"):
        fm.Input()
