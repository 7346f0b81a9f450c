"""`build` of models with a `call` of their own, and what their tables count."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L
from fastmask.layers._hooks import hooked

IDS = np.array([[4, 9, 0], [7, 0, 0]])


class Tagger(fm.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.embedding = L.Embedding(50, 8, mask_zero=True)
        self.reader = L.LSTM(4, stateful=True)
        self.head = L.Dense(2)

    def call(self, ids: Any) -> Any:
        return self.head(self.reader(self.embedding(ids)))


def test_build_builds_the_layers_inside(tmp_path: Path) -> None:
    model = Tagger()
    model.build((None, None))
    assert model.built
    assert all(one.built for one in model.layers)
    assert model.reader.states is None
    fm.save_model(model, tmp_path / "m.npz")
    again = fm.load_model(tmp_path / "m.npz", {"Tagger": Tagger})
    np.testing.assert_array_equal(again(IDS), model(IDS))
    states = model.reader.states
    model.build((None, None))  # a second time, it does nothing
    assert model.reader.states is states


def test_hooks_see_nothing_and_nothing_warns() -> None:
    class Drops(Tagger):
        def call(self, ids: Any) -> Any:
            return L.GlobalMaxPooling1D()(self.embedding(ids))

    def hook(*_: Any) -> Any:
        raise AssertionError

    with warnings.catch_warnings(), hooked(hook):
        warnings.simplefilter("error")
        Drops().build((None, None))


def test_a_call_on_data_calls_it_once() -> None:
    calls = []

    class Counts(fm.Model):
        def call(self, inputs: Any) -> Any:
            calls.append(inputs.shape)
            return inputs

    Counts()(np.ones((2, 3)))
    assert calls == [(2, 3)]


def test_what_cannot_be_built_says_so() -> None:
    class Texts(fm.Model):
        def call(self, inputs: Any) -> Any:  # noqa: ARG002 - refused
            raise TypeError("texts only")

    model = Texts(name="texts")
    for shape, told in (((None, 3), "texts only"), ((None, 2**23), "that many zeros")):
        with pytest.raises(ValueError, match=rf"'texts' .* zeros \({told}.*call it on data inst"):
            model.build(shape)
        assert not model.built


def test_its_own_build_that_builds_too_little() -> None:
    class Half(Tagger):
        def build(self, input_shape: Any) -> None:
            self.embedding.build(input_shape)

    model = Half()
    model.build((None, None))
    with pytest.raises(ValueError, match="call the model on some data; its own build does not"):
        model.load_weights("any.weights.h5")


def test_arguments_of_layers() -> None:
    model = Tagger(name="a", trainable=False, dtype="float64")
    assert (model.name, model.trainable, model.dtype) == ("a", False, "float64")
    with pytest.raises(TypeError, match="unexpected keyword argument 'trainabel'"):
        Tagger(trainabel=False)
    i = fm.Input((3,))
    with pytest.raises(TypeError, match=r"Model\(inputs, outputs\) does not take dtype"):
        fm.Model(i, L.Dense(2)(i), dtype="float64")


def test_parameters_of_shared_layers_count_once() -> None:
    dense, inner = L.Dense(3, name="dense"), fm.Sequential([L.Dense(2, name="q")], name="inner")
    a, b, steps = fm.Input((4,)), fm.Input((4,)), fm.Input((None, 4))
    outputs = [inner(dense(a)), inner(dense(b)), L.TimeDistributed(dense, name="each")(steps)]
    model = fm.Model([a, b, steps], outputs)
    rows = model.summary()
    assert sum(row.parameters for row in rows) == model.count_params() == 23
    told = {(row.layer, row.type, row.parameters) for row in rows}
    assert told == {
        ("dense", "Dense", 15),
        ("dense", "Dense, shared", 0),
        ("inner/q", "Dense", 8),
        ("inner/q", "Dense, shared", 0),
        ("each", "TimeDistributed", 0),
    }
