"""Names of Keras: those of its guide are here, and for others the message says what to use."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .keras_files import MODELS
from .wrong_calls import Call, Mine, Wrong, X, assert_says, built, each_row

TRAINING = "fastmask's layers and models are for inference"
ELSEWHERE: list[Wrong] = [
    *(
        (
            f"model.{name}",
            lambda name=name: getattr(built(), name),
            AttributeError,
            (f"Sequential has no '{name}'", TRAINING, "fastmask.torch", "set_weights"),
        )
        for name in ("fit", "compile", "evaluate", "train_on_batch", "optimizer", "loss", "metrics")
    ),
    *(
        (
            f"layer.{name}",
            lambda name=name: getattr(L.Dense(3), name),
            AttributeError,
            (f"Dense has no '{name}'", TRAINING, "fastmask.torch"),
        )
        for name in ("trainable_variables", "trainable_weights", "add_loss", "losses")
    ),
    (
        "model.save",
        lambda: built().save("m.npz"),
        AttributeError,  # type: ignore[attr-defined]  # on purpose
        ("'save'", "fastmask.save_model(model, path)", "fastmask.load_model(path)"),
    ),
    *(
        (
            f"layer.{name}",
            lambda name=name: getattr(L.LSTM(4), name),
            AttributeError,
            (f"'{name}'", "get_weights()", "set_weights", "load_weights of a model"),
        )
        for name in ("load_weights", "save_weights")
    ),
    (
        "model.state_dict",
        lambda: built().state_dict(),
        AttributeError,  # type: ignore[attr-defined]  # on purpose
        ("'state_dict'", "fastmask.torch"),
    ),
    *(
        (
            f"{owner}.{name}",
            lambda owner=owner, name=name: getattr(owner, name),
            AttributeError,
            (
                f"has no '{name}'",
                "call the layers up to the inner one",
                "Sequential(model.layers[:k])",
            ),
        )
        for owner in (built(), L.GRU(4))
        for name in ("input", "output", "outputs", "output_mask")
    ),
    *(
        (
            f"layer.{name}",
            lambda name=name: getattr(built().layers[0], name),
            AttributeError,
            (f"has no '{name}'", "summary()", "compute_output_shape(input_shape)"),
        )
        for name in ("input_shape", "output_shape")
    ),
    (
        "model.predict_on_batch",
        lambda: built().predict_on_batch(X),
        AttributeError,  # type: ignore[attr-defined]  # on purpose
        ("'predict_on_batch'", "model(x)"),
    ),
    (
        "model.get_layer",
        lambda: built().get_layer(index=2),
        TypeError,
        ("get_layer() got an unexpected keyword argument 'index': take model.layers[index]",),
    ),
    (
        "an attribute of nobody",
        lambda: built().color,
        AttributeError,  # type: ignore[attr-defined]  # on purpose
        ("'Sequential' object has no attribute 'color'",),
    ),
]


@each_row(ELSEWHERE)
def test_message(call: Call, kind: type[Exception], parts: tuple[str, ...]) -> None:
    assert_says(call, kind, parts)


def told(owner: Any, name: str = "fit") -> str:
    with pytest.raises(AttributeError) as raised:
        getattr(owner, name)
    return str(raised.value)


def test_where_to_train_depends_on_where_a_model_comes_from(tmp_path: Path) -> None:
    """Both ways are named, the way of the library that the weights come from first."""
    ways = re.compile(r"train (with fastmask|in Keras).*; or train (with fastmask|in Keras)")
    of_keras = fm.load_model(MODELS / "masking_stack.keras")
    for owner in (of_keras, of_keras.layers[-1]):
        for name in ("fit", "compile", "train_on_batch"):
            assert ways.findall(told(owner, name)) == [("in Keras", "with fastmask")]
    assert "fastmask.keras.convert(model)" in told(of_keras)
    assert "fastmask.torch.convert(model)" in told(of_keras)
    fm.save_model(of_keras, tmp_path / "own.npz")
    own = fm.load_model(tmp_path / "own.npz")
    for owner in (own, built(), fm.Model):
        assert ways.findall(told(owner)) == [("with fastmask", "in Keras")]
    own.load_weights(MODELS / "masking_stack.h5")
    assert ways.findall(told(own)) == [("in Keras", "with fastmask")]


def test_what_is_missing_is_missing() -> None:
    model = fm.Sequential([Mine()])
    for name in ("fit", "compile", "evaluate", "save", "loss", "trainable_variables", "parameters"):
        assert not hasattr(model, name)
        assert not hasattr(model.layers[0], name)
        assert getattr(model, name, 3) == 3
        assert not hasattr(fm.Model, name)
        assert name not in dir(model)


def test_layers_of_users_may_be_abstract() -> None:
    class Abstract(L.Layer, ABC):
        @abstractmethod
        def factor(self) -> float: ...

        def call(self, inputs: Any) -> Any:
            return inputs * np.float32(self.factor())

    class Double(Abstract):
        def factor(self) -> float:
            return 2.0

    with pytest.raises(TypeError, match="abstract"):
        Abstract()  # type: ignore[abstract]  # on purpose
    assert isinstance(Double(), Abstract)
    assert Double()(np.ones((1, 2))).tolist() == [[2.0, 2.0]]


def test_attributes_of_users_layers_are_their_own() -> None:
    class Own(L.Layer):
        fit = 3

        def __init__(self) -> None:
            super().__init__()
            self.loss = 4

        @property
        def metrics(self) -> Any:
            return self.lost  # type: ignore[attr-defined]  # on purpose

    own = Own()
    assert (own.fit, own.loss) == (3, 4)
    with pytest.raises(AttributeError, match="'Own' object has no attribute 'lost'"):
        _ = own.metrics


def test_the_output_of_an_inner_layer() -> None:
    """As the message says, for models from files and by hand; masks and weights are the model's."""
    ids = fm.Input((None,), "int32")
    words = L.Embedding(9, 4, mask_zero=True, name="words")
    by_hand = fm.Model(ids, L.Dense(2)(L.GRU(3, return_sequences=True, name="reader")(words(ids))))
    loaded = fm.load_model(MODELS / "text_bilstm.keras")
    for model, x in ((by_hand, [[3, 4, 0], [5, 0, 0]]), (loaded, [["a film"], ["a"]])):
        first, *between = model.layers[:-1]
        y = first(np.array(x))
        for layer in between:
            y = model.get_layer(layer.name)(y)
        chain = fm.Sequential(model.layers[:-1])
        found = chain(np.array(x))
        if model is by_hand:
            assert y.mask.valid.tolist() == found.mask.valid.tolist() == [[1, 1, 0], [1, 0, 0]]
            y, found = y.data, found.data
        np.testing.assert_allclose(y, found, rtol=0, atol=1e-6)
        assert all(map(np.shares_memory, chain.weights, model.weights))


def test_names_of_keras_guide() -> None:
    assert fm.utils.pad_sequences is fm.pad_sequences
    x = L.Embedding(9, 4, mask_zero=True)([[3, 0]])
    assert x._keras_mask is x.mask
    symbolic = L.Embedding(9, 4, mask_zero=True)(fm.Input((None,), "int32"))
    assert L.LSTM(4)(symbolic, mask=symbolic._keras_mask).shape == (None, 4)
    assert fm.Input((3,))._keras_mask is None
