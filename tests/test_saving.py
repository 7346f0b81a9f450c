"""Saved models load again, and what could not be loaded is not saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import initializers
from fastmask.layers import LSTM, Activation, Dense, Embedding, Layer, Masking

from .saved_model import saved, small_model

X = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path)


class Scale(Layer):
    """A custom layer with an argument and weights of several dtypes."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")
        self.count = self.add_weight((1,), "zeros", dtype="int64", trainable=False, name="count")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale * self.factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class TestGoesRound:
    def check(self, model: Any, x: Any, path: Path, **options: Any) -> Any:
        expected = model(x)
        fm.save_model(model, path)
        again = fm.load_model(path, **options)
        assert type(again) is type(model)
        got = again(x)
        if isinstance(expected, fm.Masked):
            np.testing.assert_array_equal(got.mask.valid, expected.mask.valid)
            got, expected = got.data, expected.data
        np.testing.assert_array_equal(got, expected)
        assert again.get_config() == model.get_config()
        return again

    def test_sequential(self, tmp_path: Path) -> None:
        again = self.check(small_model(), X, tmp_path / "a.npz")
        assert [layer.name for layer in again.layers][1] == "reader"

    def test_nested_and_called_only(self, tmp_path: Path) -> None:
        inner = fm.Sequential([Embedding(9, 4, mask_zero=True), LSTM(3, return_sequences=True)])
        model = fm.Sequential([inner, Activation("relu"), LSTM(2, dtype="float64")])
        self.check(model, np.array([[1, 2, 0], [8, 0, 0]]), tmp_path / "a.npz")

    @pytest.mark.parametrize(
        "layer",
        [
            LSTM(3, "relu", "hard_sigmoid", return_sequences=True, go_backwards=True),
            LSTM(3, None, use_bias=False, unit_forget_bias=False, zero_output_for_mask=True),
            LSTM(3, dropout=0.3, recurrent_dropout=0.1, seed=4, dtype="float64"),
            LSTM(3, kernel_initializer=initializers.RandomNormal(seed=1), bias_initializer="ones"),
            Dense(3, "gelu", use_bias=False, kernel_initializer="orthogonal"),
            Masking(-1.5),
            Masking(float("nan")),
            Activation("selu"),
        ],
        ids=lambda layer: layer.name,
    )
    def test_options_of_a_layer(self, layer: Layer, tmp_path: Path) -> None:
        expected = layer(X)
        fm.save_model(layer, tmp_path / "a.npz")
        again = fm.load_model(tmp_path / "a.npz")
        assert str(again.get_config()) == str(layer.get_config())
        got = again(X)
        for one, other in [(expected, got)]:
            one, other = (y.data if isinstance(y, fm.Masked) else y for y in (one, other))
            np.testing.assert_array_equal(one, other)

    def test_custom_layer(self, tmp_path: Path) -> None:
        model = fm.Sequential([Scale(3.0), LSTM(2)])
        path = tmp_path / "a.npz"
        self.check(model, X, path, custom_objects={"Scale": Scale})
        with pytest.raises(ValueError, match="unknown layer class 'Scale'"):
            fm.load_model(path)

    def test_a_custom_class_of_a_known_name(self, path: Path) -> None:
        class Twice(Dense):
            def call(self, inputs: Any) -> Any:
                return 2 * super().call(inputs)

        Twice.__name__ = "Dense"
        model = fm.Sequential([Twice(2, name="twice")])
        expected = model(X)
        fm.save_model(model, path)
        again = fm.load_model(path, custom_objects={"Dense": Twice})
        np.testing.assert_array_equal(again(X), expected)
        np.testing.assert_array_equal(2 * fm.load_model(path)(X), expected)

    def test_no_weights(self, tmp_path: Path) -> None:
        self.check(fm.Sequential([Masking()]), X, tmp_path / "a.npz")


class TestSaving:
    def test_replaces_a_file_whole(self, path: Path) -> None:
        before = path.read_bytes()
        fm.save_model(fm.load_model(path), path)
        assert path.read_bytes() == before
        assert [p.name for p in path.parent.iterdir()] == ["model.npz"]

    def test_a_failure_leaves_the_old_file(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = path.read_bytes()

        def fails(file: Any, **_: Any) -> None:
            file.write(b"half")
            raise OSError("disk full")

        monkeypatch.setattr(np, "savez", fails)
        with pytest.raises(OSError, match="disk full"):
            fm.save_model(small_model(), path)
        assert path.read_bytes() == before
        assert [p.name for p in path.parent.iterdir()] == ["model.npz"]

    def test_is_plain_numpy(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            assert sorted(file.files) == ["config", "w0", "w1", "w2", "w3", "w4"]
            assert json.loads(file["config"].tobytes())["format"] == "fastmask"

    def test_refuses(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        with pytest.raises(ValueError, match=r"path must end in \.npz, not"):
            fm.save_model(small_model(), tmp_path / "a.txt")
        with pytest.raises(TypeError, match="model must be a fastmask model or layer, not dict"):
            fm.save_model({}, path)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(ValueError, match="model must be built before it is saved, but 'new'"):
            fm.save_model(fm.Sequential([LSTM(3, name="new")]), path)
        model = fm.Sequential([fm.layers.Lambda(np.tanh, name="squash")])
        model(np.ones((1, 2)))
        with pytest.raises(ValueError, match=r"'squash' is a Lambda.*class Mine.*custom_objects"):
            fm.save_model(model, path)
        with pytest.raises(
            ValueError, match=r"cannot be saved: activation of layer .*custom_objects"
        ):
            fm.save_model(fm.Sequential([self.called(Activation(np.tan))]), path)
        assert not path.exists()

    def called(self, layer: Layer) -> Layer:
        layer(X)
        return layer

    def test_refuses_what_it_could_not_read(self, tmp_path: Path) -> None:
        class Needs(Layer):
            def __init__(self, size: int) -> None:
                super().__init__()
                self.size = size

            def call(self, inputs: Any) -> Any:
                return inputs

        class Hidden(Layer):
            def __init__(self, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.inner = Dense(2)

            def call(self, inputs: Any) -> Any:
                return self.inner(inputs)

        with pytest.raises(ValueError, match=r"cannot be saved: .*unexpected keyword"):
            fm.save_model(self.called(Needs(3)), tmp_path / "a.npz")
        with pytest.raises(ValueError, match=r"has weights of shapes \[\], not \[\(2, 2\)"):
            fm.save_model(self.called(Hidden()), tmp_path / "a.npz")
        around = self.called(fm.Sequential([Dense(2), Hidden(name="of_mine")]))
        with pytest.raises(ValueError, match=r"layer 'of_mine', made again .* build must build"):
            fm.save_model(around, tmp_path / "a.npz")
