"""The user's own models, cells and classes in place of what is in files of Keras 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.cells import exp, minimum, relu, sigmoid

from .keras_cases import the_keras
from .keras_files import refused

pytestmark = [pytest.mark.optional, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
keras = the_keras()
IDS = np.array([[4, 9, 0], [7, 0, 0]])
VECTORS = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
ROWS = np.random.default_rng(1).normal(size=(2, 5)).astype(np.float32)


def layers_of(model: Any, of: Any) -> None:
    """Layers before and after "layers" in the alphabet, in lists and in models, some alike."""
    model.embedding = of.Embedding(50, 8, mask_zero=True)
    model.blocks = [of.Dense(8), of.Dense(8)]
    model.reader = of.LSTM(4)
    model.zone = of.Dense(2)


def tagged(model: Any, ids: Any) -> Any:
    x = model.embedding(ids)
    for one in model.blocks:
        x = one(x)
    return model.zone(model.reader(x))


@keras.saving.register_keras_serializable(package="lab")
class KerasTagger(keras.Model):  # type: ignore[misc]  # Keras has no types
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        layers_of(self, keras.layers)

    def call(self, ids: Any) -> Any:
        return tagged(self, ids)


class Tagger(fm.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        layers_of(self, fm.layers)

    def call(self, ids: Any) -> Any:
        return tagged(self, ids)


class Built(Tagger):
    """Has a `build` of its own."""

    def build(self, input_shape: Any) -> None:
        self.embedding.build(input_shape)
        for one in self.blocks:
            one.build((*input_shape, 8))
        self.reader.build((*input_shape, 8))
        self.zone.build((input_shape[0], 4))


class Unbuilt(Tagger):
    def build(self, input_shape: Any) -> None:
        self.embedding.build(input_shape)


class Strict(Tagger):
    """Takes texts, as far as one can see."""

    def call(self, ids: Any) -> Any:  # noqa: ARG002 - refused
        raise TypeError("no zeros, please")


class WithoutOptions(Tagger):
    def __init__(self) -> None:
        super().__init__()


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, Any]:
    model = KerasTagger()
    expected = model.predict(IDS, verbose=0)
    model.save(tmp_path / "tagger.keras")
    return tmp_path / "tagger.keras", expected


@pytest.mark.parametrize("cls", [Tagger, Built])
@pytest.mark.parametrize("name", ["KerasTagger", "lab>KerasTagger"])
def test_a_subclassed_model(cls: Any, name: str, file: Any) -> None:
    path, expected = file
    model = fm.load_model(path, {name: cls})
    np.testing.assert_allclose(model(IDS), expected, atol=1e-6)
    fm.save_model(model, path.with_suffix(".npz"))
    again = fm.load_model(path.with_suffix(".npz"), {cls.__name__: cls})
    np.testing.assert_allclose(again(IDS), expected, atol=1e-6)


def test_its_weights_alone(file: Any) -> None:
    path, expected = file
    model = Tagger()
    model(IDS)
    model.load_weights(path)
    np.testing.assert_allclose(model(IDS), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("cls", "told"),
    [
        (Strict, "cannot be built by calling it on zeros for (2, 3), the shape in the file: no ze"),
        (WithoutOptions, "unexpected keyword argument 'trainable'"),
        (Unbuilt, "build of Unbuilt does not build its layer 'dense"),
    ],
)
def test_what_works_if_it_cannot_be_built(cls: Any, told: str, file: Any) -> None:
    instead = f"model = {cls.__name__}(...); model(data); model.load_weights(path)"
    refused(file[0], told, instead, custom_objects={"KerasTagger": cls})


def test_a_model_of_several_inputs(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable(package="lab")
    class KerasBoth(keras.Model):  # type: ignore[misc]  # Keras is Any
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.dense, self.lstm = keras.layers.Dense(3), keras.layers.LSTM(3)

        def call(self, inputs: Any) -> Any:
            return self.lstm(inputs[0]) + self.dense(inputs[1])

    class Both(fm.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.dense, self.lstm = fm.layers.Dense(3), fm.layers.LSTM(3)

        def call(self, inputs: Any) -> Any:
            return self.lstm(inputs[0]) + self.dense(inputs[1])

    there = KerasBoth()
    expected = keras.ops.convert_to_numpy(there([VECTORS, ROWS]))
    there.save(tmp_path / "both.keras")
    model = fm.load_model(tmp_path / "both.keras", {"KerasBoth": Both})
    np.testing.assert_allclose(model([VECTORS, ROWS]), expected, atol=1e-6)


def test_kernels_inside_a_layer_of_ones_own(tmp_path: Path) -> None:
    """They run on zeros, to find out shapes, before the weights are read."""

    @keras.saving.register_keras_serializable(package="lab")
    class KerasReader(keras.layers.Layer):  # type: ignore[misc]  # Keras is Any
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            layers_of(self, keras.layers)

        def call(self, ids: Any) -> Any:
            return tagged(self, ids)

    class Reader(fm.layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            layers_of(self, fm.layers)

        def call(self, ids: Any) -> Any:
            return tagged(self, ids)

    i = keras.Input((None,), dtype="int32")
    there = keras.Model(i, KerasReader()(i))
    there.save(tmp_path / "reader.keras")
    model = fm.load_model(tmp_path / "reader.keras", {"KerasReader": Reader})
    np.testing.assert_allclose(model(IDS), there.predict(IDS, verbose=0), atol=1e-6)


def elu(x: Any) -> Any:
    return relu(x) + exp(minimum(x, 0.0)) - 1.0


@fm.cell
def elu_lstm(i, f, g, o, h, c):  # type: ignore[no-untyped-def]  # noqa: ARG001 - the state
    c = sigmoid(f) * c + sigmoid(i) * elu(g)
    return sigmoid(o) * elu(c), c


@fm.cell
def elu_rnn(s, h):  # type: ignore[no-untyped-def]  # noqa: ARG001 - the state
    return elu(s)


@fm.cell
def elu_gru(z, r, n, h):  # type: ignore[no-untyped-def]  # a formula, as users write it
    z = sigmoid(z)
    return z * h + (1 - z) * elu(n(sigmoid(r) * h))


@fm.cell(x_only=("n",), h_only=("q",))
def elu_gru_of_keras_3(z, r, n, q, h):  # type: ignore[no-untyped-def]  # a formula, as users write it
    z = sigmoid(z)
    return z * h + (1 - z) * elu(n + sigmoid(r) * q)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_cells_in_place_of_recurrent_layers(ending: str, tmp_path: Path) -> None:
    of = keras.layers
    options: Any = {"activation": "elu", "return_sequences": True}
    there = keras.Sequential(
        [
            keras.Input((None, 4)),
            of.Masking(),
            of.Bidirectional(of.LSTM(4, name="reader", **options)),
            of.LSTM(4, return_sequences=True),
            of.GRU(3, name="new", **options),
            of.GRU(3, name="old", reset_after=False, go_backwards=True, **options),
            of.SimpleRNN(3, name="plain", use_bias=False, **options),
            of.RNN(of.GRUCell(3, activation="elu", name="step")),
        ]
    )
    rng = np.random.default_rng(2)
    for weight in there.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.4)
    path = tmp_path / f"cells{ending}"
    there.save(path)
    refused(path, "5 of its 7 layers are not supported", "reader: has the activation 'elu'; rec")
    cells = {"new": elu_gru_of_keras_3, "old": elu_gru, "plain": elu_rnn}
    cells |= {"forward_reader": elu_lstm, "backward_reader": elu_lstm, "step": elu_gru_of_keras_3}
    model = fm.load_model(path, cells)
    expected = there.predict(VECTORS, verbose=0)
    np.testing.assert_allclose(model(VECTORS), expected, atol=1e-5)


def test_a_decoder_without_its_mask_warns_if_masked_steps_count(tmp_path: Path) -> None:
    of = keras.layers
    words, start = keras.Input((None,), dtype="int32"), keras.Input((4,))
    x = of.Embedding(10, 3, mask_zero=True)(words)
    y = of.LSTM(4, return_sequences=True, name="decoder")(x, initial_state=[start, start])
    there = keras.Model([words, start], y)
    there.save(tmp_path / "decoder.keras")
    state = np.ones((1, 4), np.float32)
    model = fm.load_model(tmp_path / "decoder.keras")
    after, before = [np.array([[3, 4, 0]]), state], [np.array([[0, 3, 4]]), state]
    found = model(after).data[:, :2]  # without a warning: padding comes last, and stays masked
    np.testing.assert_allclose(found, there.predict(after, verbose=0)[:, :2], atol=1e-6)
    with pytest.warns(UserWarning, match="'decoder_without_mask' .* masked steps count") as caught:
        [model(before) for _ in range(2)]
    assert len(caught) == 1


@pytest.mark.parametrize("file_name", ["own.keras", "own.h5"])
def test_a_package_in_front_of_the_name(file_name: str, tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable(package="lab", name="LSTM")
    class LSTM(keras.layers.Layer):  # type: ignore[misc]  # Keras is Any
        def build(self, shape: Any) -> None:
            self.by = self.add_weight(shape=(shape[-1],), initializer="ones", name="by")

        def call(self, x: Any) -> Any:
            return x * self.by

    class Other(fm.layers.Layer):
        supports_masking = True

        def build(self, input_shape: Any) -> None:
            self.by = self.add_weight((input_shape[-1],), "ones", name="by")

        def call(self, x: Any) -> Any:
            return x * self.by

    there = keras.Sequential([keras.Input((None, 4)), LSTM(), keras.layers.LSTM(2)])
    there.save(tmp_path / file_name)
    refused(tmp_path / file_name, "is of class LSTM, which is not known")
    model = fm.load_model(tmp_path / file_name, {"lab>LSTM": Other})
    assert [type(one) for one in model.layers] == [Other, fm.layers.LSTM]
    np.testing.assert_allclose(model(VECTORS), there.predict(VECTORS, verbose=0), atol=1e-6)


def test_inspect_shows_the_weights_of_a_subclassed_model(
    file: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastmask import cli

    assert cli.main(["inspect", str(file[0])]) == 1
    shown = capsys.readouterr().out
    assert "tagger.keras: 762 parameters" in shown
    assert "weights in the file: blocks/dense (8, 8), (8,); " in shown
    assert shown.splitlines()[-1] == "its 1 layer is not supported"
