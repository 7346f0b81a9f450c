"""Warnings about lost masks: what happened, and what to do."""

# ruff: noqa: ARG002, ARG005  layers take masks because they are called with them

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

MASK = np.array([[1, 1, 0], [0, 1, 1]], bool)


def masked() -> fm.Masked:
    return fm.Masked(np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32), MASK)


class Mean(L.Layer):
    """Uses the mask, and gives no mask for its outputs."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return np.where(mask[:, :, None], inputs, 0).sum(axis=1) / mask.sum(axis=1, keepdims=True)


class Scale(L.Layer):
    """The same, with outputs that still have a time axis."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs * mask[:, :, None]


class Model(fm.Model):
    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs[:, 0]


class Query(L.Layer):
    def call(self, query: Any, key: Any, query_mask: Any = None, key_mask: Any = None) -> Any:
        return query + key


USERS: list[Callable[[], Any]] = [
    lambda: Mean(name="own")(masked()),
    lambda: Scale(name="own")(masked()),
    lambda: Mean(name="own")(L.Masking()(fm.Input((3, 4)))),
    lambda: Model(name="own")(masked()),
    lambda: Query(name="own")(masked(), key=masked()),
    lambda: L.Lambda(lambda x, mask: x[:, 0], name="own")(masked()),
    lambda: fm.trace_masks(Mean(name="own"), masked()),
]


@pytest.mark.parametrize("call", USERS)
def test_a_layer_that_uses_its_mask_is_not_told_that_it_cannot(call: Callable[[], Any]) -> None:
    with pytest.warns(UserWarning, match="Layer 'own'") as caught:
        call()
    (message,) = (str(one.message) for one in caught)
    assert "It uses the mask, but does not say what becomes of it" in message
    assert "does not support masking" not in message
    assert ("Pass mask= to Lambda" if "Lambda" in message else "compute_mask") in message


def test_what_it_says_helps() -> None:
    class Ends(Mean):
        def compute_mask(self, *_: Any) -> Any:
            return None

    class Keeps(Scale):
        supports_masking = True

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(Ends()(masked()), np.ndarray)
        np.testing.assert_array_equal(Keeps()(masked()).mask, MASK)
        end = L.Lambda(lambda x, mask: x[:, 0], mask=lambda *_: None)
        assert isinstance(end(masked()), np.ndarray)


def test_merging_with_an_input_without_a_mask() -> None:
    for layer in (L.Add(), L.Multiply(), L.Average()):
        with pytest.warns(UserWarning, match="and another one without") as caught:
            layer([masked(), masked().data])
        assert "does not support masking" not in str(caught[0].message)
    with pytest.warns(UserWarning, match="does not support masking"):
        L.Dot(axes=1)([masked(), masked()])


MERGES = [L.Add, L.Subtract, L.Average, L.Multiply, L.Maximum, L.Minimum, L.Concatenate]


@pytest.mark.parametrize("cls", MERGES)
def test_lists_of_masks_are_checked_as_in_keras(cls: Any) -> None:
    x, layer = masked().data, cls()
    for inputs, mask, words in (
        ([x, x], MASK, "mask of layer .* must be a list, not ndarray"),
        (x, [MASK, MASK], "inputs of layer .* must be a list, not ndarray"),
        (x, MASK, "must be a list"),
        ([x, x], [MASK], "one mask for each of 2 inputs, not 1"),
        ([x, x], [MASK] * 3, "one mask for each of 2 inputs, not 3"),
    ):
        with pytest.raises(ValueError, match=words):
            layer.compute_mask(inputs, mask)
    np.testing.assert_array_equal(layer.compute_mask([x, x], [MASK, MASK]), MASK)
    assert layer.compute_mask([x, x], None) is None
    assert layer.compute_mask([x, x]) is None
    assert layer.compute_mask([x, x], [None, None]) is None if cls is L.Concatenate else True


def test_masks_along_the_batch() -> None:
    first, second = masked(), fm.Masked(np.ones((1, 3, 4)), [[1, 0, 0]])
    y = L.Concatenate(axis=0)([first, second])
    assert y.mask.tolist() == [*MASK.tolist(), [True, False, False]]
    short = L.Concatenate(axis=0)(
        [fm.Masked([[1, 2]], [[1, 0]]), fm.Masked([[3, 4]] * 2, [[0, 1], [1, 1]])]
    )
    assert short.data.tolist() == [[1, 2], [3, 4], [3, 4]]
    assert short.mask.tolist() == [[True, False], [False, True], [True, True]]
    plain = L.Concatenate(axis=0)([first, second.data])
    assert plain.mask[2].all()


@pytest.mark.optional
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
class TestAgainstKeras:
    @pytest.fixture(autouse=True)
    def _keras(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        pytest.importorskip("torch", reason="torch is not installed")
        self.keras = pytest.importorskip("keras", reason="keras is not installed")

    @pytest.mark.parametrize("cls", MERGES)
    def test_lists_of_masks(self, cls: Any) -> None:
        x = masked().data
        wrong = ([x, x], MASK), (x, [MASK, MASK]), (x, MASK), ([x, x], [MASK])
        for layers in (L, self.keras.layers):
            layer = getattr(layers, cls.__name__)()
            for inputs, mask in wrong:
                with pytest.raises(ValueError, match="list"):
                    layer.compute_mask(inputs, mask)
            other = np.roll(MASK, 1)
            union = np.asarray(layer.compute_mask([x, x], [MASK, other]))
            np.testing.assert_array_equal(union.reshape(MASK.shape), MASK | other)

    def test_models_of_layers_in_a_row(self) -> None:
        def later(package: Any) -> None:
            model = package.Sequential([package.layers.Dense(3)])
            model.build((None, 5))
            model.build((None, 6))

        def twice(package: Any) -> None:
            package.Sequential([package.Input((2,)), package.Input((2,))])

        def another_width(package: Any) -> None:
            layer = package.layers.Dense(3)
            layer.build((None, 5))
            layer(package.Input((6,)))

        for package in (fm, self.keras):
            for wrong in (later, twice, another_width, lambda p: p.Sequential()(np.ones((2, 3)))):
                with pytest.raises(ValueError, match=r"shape|layers"):
                    wrong(package)

    def test_states_after_a_reset(self) -> None:
        x = masked().data
        for layers in (L, self.keras.layers):
            layer = layers.GRU(3, stateful=True)
            layer(x)
            layer.reset_state()
            (state,) = (np.asarray(getattr(one, "value", one)) for one in layer.states)
            np.testing.assert_array_equal(state, np.zeros((2, 3)))
