"""Keras models that train and predict with fastmask's loops."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.keras_cases import the_keras

pytestmark = [
    pytest.mark.optional,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Keras's own, of NumPy
]
keras = the_keras()

import fastmask.keras as fk  # noqa: E402 - needs Keras

layers = keras.layers


def data(rows: int = 24, time: int = 7) -> tuple[Any, Any]:
    """Rows of words with padding at the end, some rows without words; and labels."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 30, (rows, time)).astype("int32")
    x[np.arange(time) >= rng.integers(0, time + 1, (rows, 1))] = 0
    return x, rng.integers(0, 2, (rows, 1)).astype("float32")


def classifier(optimizer: str = "adam", dtype: str = "float32", **options: Any) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(30, 4, mask_zero=True),
            layers.Bidirectional(
                layers.LSTM(5, return_sequences=True, dtype=dtype, **options), name="both"
            ),
            layers.GRU(3, dtype=dtype, name="gru"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


def assert_equal_weights(one: Any, other: Any, close: float = 1e-4) -> None:
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, 0, close)


class TestTraining:
    def test_20_steps(self) -> None:
        x, y = data(64)
        plain, converted = classifier(), classifier()
        assert len(fk.convert(converted)[0]) == 3
        for step in range(20):
            batch = slice(step % 4 * 16, step % 4 * 16 + 16)
            losses = [model.train_on_batch(x[batch], y[batch])[0] for model in (plain, converted)]
            np.testing.assert_allclose(losses[0], losses[1], 0, 1e-5)
        assert_equal_weights(plain, converted)
        np.testing.assert_allclose(
            plain.predict_on_batch(x), converted.predict_on_batch(x), 0, 1e-4
        )

    def test_fit_goes_on_where_it_was(self) -> None:
        """Converting in the middle of training keeps the optimizer's state and the compilation."""
        x, y = data()
        plain, converted = classifier(), classifier()
        for model in (plain, converted):
            model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
            model.predict(x, verbose=0)
            model.evaluate(x, y, verbose=0)
        fk.convert(converted)
        seen = []
        callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: seen.append(epoch))
        ends = [
            model.fit(
                x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[callback]
            ).history["loss"]
            for model in (plain, converted)
        ]
        assert seen == [0, 1, 0, 1]
        np.testing.assert_allclose(ends[0], ends[1], 0, 1e-5)
        assert_equal_weights(plain, converted)
        scores = [model.evaluate(x, y, verbose=0) for model in (plain, converted)]
        np.testing.assert_allclose(scores[0], scores[1], 0, 1e-5)
        np.testing.assert_allclose(
            plain.predict(x, verbose=0), converted.predict(x, verbose=0), 0, 1e-5
        )

    def test_dropout_draws_the_same(self) -> None:
        x, y = data()
        plain, converted = classifier(dropout=0.4, seed=5), classifier(dropout=0.4, seed=5)
        fk.convert(converted)
        for model in (plain, converted):
            model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        assert_equal_weights(plain, converted)

    def test_float64(self) -> None:
        x, y = data()
        plain, converted = classifier(dtype="float64"), classifier(dtype="float64")
        assert len(fk.convert(converted)[0]) == 3
        for model in (plain, converted):
            model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        assert_equal_weights(plain, converted)

    def test_what_keras_keeps(self) -> None:
        x, y = data()
        plain, converted = (classifier(recurrent_dropout=0.3, seed=5) for _ in range(2))
        names, reasons = fk.convert(converted)
        assert names == ["gru"]
        assert set(reasons.values()) == {"it has recurrent_dropout"}
        for model in (plain, converted):
            model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        assert_equal_weights(plain, converted)


class TestPlainKeras:
    def test_files_are_kerass_own(self, tmp_path: Path) -> None:
        x, y = data()
        model = classifier()
        before = model.to_json()
        fk.convert(model)
        assert model.to_json() == before
        model.fit(x, y, verbose=0)
        expected = model.predict(x, verbose=0)
        for name in ("model.keras", "model.h5"):
            model.save(tmp_path / name)
            loaded = keras.models.load_model(tmp_path / name)
            assert fk.revert(loaded) == []
            np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, 0, 1e-5)
        with zipfile.ZipFile(tmp_path / "model.keras") as archive:
            config = json.loads(archive.read("config.json"))
        assert "fastmask" not in json.dumps(config)
        model.save_weights(tmp_path / "model.weights.h5")
        other = classifier()
        other.train_on_batch(x, y)  # now its optimizer has the variables that the file has
        other.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_allclose(other.predict(x, verbose=0), expected, 0, 1e-5)

    def test_clones_and_pickles(self) -> None:
        x, y = data()
        model = classifier()
        fk.convert(model)
        model.train_on_batch(x, y)
        for copied in (keras.models.clone_model(model), pickle.loads(pickle.dumps(model))):  # noqa: S301 - its own pickle
            assert fk.revert(copied) == []
            copied.set_weights(model.get_weights())
            np.testing.assert_allclose(
                copied.predict(x, verbose=0), model.predict(x, verbose=0), 0, 1e-5
            )

    def test_revert(self) -> None:
        model = classifier()
        names, _ = fk.convert(model)
        assert fk.convert(model)[0] == names == fk.revert(model)
        assert fk.revert(model) == []
        assert not any("inner_loop" in vars(layer) for layer in model._flatten_layers())


class Counting:
    """Counts the calls that fastmask computes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from fastmask.keras._loop import BACKEND as backend

        self.count = 0
        run = backend.run

        def counted(*arguments: Any) -> Any:
            self.count += 1
            return run(*arguments)

        monkeypatch.setattr(backend, "run", counted)


class TestBlocks:
    def test_enabled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counting = Counting(monkeypatch)
        x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
        made = [
            layers.LSTM(3),
            layers.GRU(3, unroll=True),
            layers.RNN(layers.GRUCell(3)),
            layers.SimpleRNN(3),
            layers.LSTM(3, recurrent_dropout=0.5),
        ]
        expected = [layer(x) for layer in made]
        assert counting.count == 0
        with fk.enabled(), fk.enabled():
            found = [layer(x) for layer in made]
        assert counting.count == 3
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other), 0, 1e-5
            )
        for layer in made:
            layer(x)
        assert counting.count == 3
        assert type(made[3]).inner_loop is keras.layers.RNN.inner_loop

    def test_plain(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counting = Counting(monkeypatch)
        x = np.ones((2, 5, 3), "float32")
        layer = layers.LSTM(3)
        fk.convert(layer)
        with fk.plain():
            layer(x)
        with fk.enabled(), fk.plain(), fk.plain():
            layers.GRU(3)(x)
        assert counting.count == 0
        layer(x)
        assert counting.count == 1

    def test_enabled_where_no_kernels_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a device without kernels, Keras computes, layer by layer."""
        from fastmask.keras._loop import BACKEND as backend

        counting = Counting(monkeypatch)
        layer = layers.LSTM(3)
        x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
        expected = keras.ops.convert_to_numpy(layer(x))
        if keras.config.backend() == "jax":
            with monkeypatch.context() as patched:
                patched.setattr("jax.default_backend", lambda: "gpu")
                assert backend.why_not_now(x).endswith("on the CPU, not on gpu")
        monkeypatch.setattr(backend, "why_not_now", lambda _: "it is on a GPU")
        fk.convert(layer)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), expected, 0, 1e-6)
        assert counting.count == 0


def both_ways(make: Any, *inputs: Any) -> list[str]:
    """Check that `convert` leaves a model's predictions unchanged; returns the names it returns."""
    keras.utils.set_random_seed(1)
    model = make()
    expected = model.predict(list(inputs) if len(inputs) > 1 else inputs[0], verbose=0)
    names, reasons = fk.convert(model)
    assert reasons == {}
    found = model.predict(list(inputs) if len(inputs) > 1 else inputs[0], verbose=0)
    np.testing.assert_allclose(found, expected, 0, 1e-5)
    return names


class TestModels:
    def test_states_go_from_layer_to_layer(self) -> None:
        def translator() -> Any:
            first = keras.Input((None,), dtype="int32")
            second = keras.Input((None,), dtype="int32")
            table = layers.Embedding(30, 4, mask_zero=True)
            _, *states = layers.LSTM(4, return_state=True, name="reader")(table(first))
            writer = layers.LSTM(4, return_sequences=True, name="writer")
            out = writer(table(second), initial_state=states)
            return keras.Model([first, second], layers.Dense(2)(out))

        x, _ = data()
        assert both_ways(translator, x, x[:, :5]) == ["reader", "writer"]

    def test_stateful(self) -> None:
        x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
        found = []
        for convert in (False, True):
            keras.utils.set_random_seed(1)
            model = keras.Sequential(
                [keras.Input((4, 3), batch_size=2), layers.LSTM(3, stateful=True)]
            )
            if convert:
                fk.convert(model)
            found.append([model.predict(x, verbose=0) for _ in range(3)])
            model.layers[0].reset_state()
            found[-1].append(model.predict(x, verbose=0))
        np.testing.assert_allclose(found[0], found[1], 0, 1e-5)

    def test_time_distributed(self) -> None:
        def model() -> Any:
            return keras.Sequential(
                [
                    keras.Input((5, 4, 3)),
                    layers.TimeDistributed(layers.Masking()),
                    layers.TimeDistributed(layers.LSTM(2, name="within")),
                    layers.RNN(layers.SimpleRNNCell(3), name="after"),
                ]
            )

        x = np.random.default_rng(0).standard_normal((3, 5, 4, 3)).astype("float32")
        x[0, 1, 2:] = 0
        assert both_ways(model, x) == ["within", "after"]

    def test_nested_and_shared(self) -> None:
        def model() -> Any:
            shared = layers.GRU(3, return_sequences=True, name="shared")
            inside = keras.Input((None, 3))
            inner = keras.Model(inside, shared(shared(layers.Masking()(inside))), name="inner")
            outer = keras.Input((None, 3))
            return keras.Model(outer, layers.LSTM(2, name="last")(inner(outer)))

        x = np.random.default_rng(0).standard_normal((4, 5, 3)).astype("float32")
        x[1, 3:] = x[2] = 0
        assert both_ways(model, x) == ["shared", "last"]

    def test_subclassed_model(self) -> None:
        class Own(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.embed = layers.Embedding(30, 4, mask_zero=True)
                self.lstm = layers.LSTM(3, name="lstm")

            def call(self, x: Any) -> Any:
                return self.lstm(self.embed(x))

        assert both_ways(Own, data()[0]) == ["lstm"]
