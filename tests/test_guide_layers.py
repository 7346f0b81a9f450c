"""The guide's custom layers, in NumPy: called directly, in Sequential, in a functional model."""

# ruff: noqa: ARG002  custom layers take arguments because layers are called with them

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers

IDS = np.array([[711, 632, 71, 0, 0, 0], [73, 8, 3215, 55, 927, 0], [83, 91, 1, 645, 1253, 927]])
MASK = IDS != 0
SMALL = np.array([[1, 0, 3, 4], [5, 6, 0, 0], [0, 0, 0, 0], [1, 2, 3, 4]])


class MyLayer(layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(input_dim=5000, output_dim=16, mask_zero=True)
        self.lstm = layers.LSTM(32)

    def call(self, inputs: Any) -> Any:
        x = self.embedding(inputs)
        mask = self.embedding.compute_mask(inputs)
        return self.lstm(x, mask=mask)


class TemporalSplit(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return np.split(inputs, 2, axis=1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return None
        return np.split(mask, 2, axis=1)


class CustomEmbedding(layers.Layer):
    def __init__(
        self, input_dim: int, output_dim: int, mask_zero: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.mask_zero = mask_zero

    def build(self, input_shape: Any) -> None:
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim), initializer="random_normal", dtype="float32"
        )

    def call(self, inputs: Any) -> Any:
        return self.embeddings[inputs]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if not self.mask_zero:
            return None
        return np.not_equal(inputs, 0)

    def get_config(self) -> dict[str, Any]:
        own = {"input_dim": self.input_dim, "output_dim": self.output_dim}
        return {**super().get_config(), **own, "mask_zero": self.mask_zero}


class MyActivation(layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return np.maximum(inputs, 0)


class TemporalSoftmax(layers.Layer):
    """Corrected: each row sums to one over time, or is all zeros if no step is valid."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        valid = np.ones(inputs.shape[:2], bool) if mask is None else np.asarray(mask)
        valid = valid[:, :, None]
        largest = np.max(inputs, axis=1, keepdims=True, where=valid, initial=-np.inf)
        largest = np.where(np.isfinite(largest), largest, 0)
        exponentials = np.exp(np.where(valid, inputs - largest, -np.inf))
        total = exponentials.sum(axis=1, keepdims=True)
        return exponentials / np.where(total == 0, 1, total)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None


def three_ways(chain: list[layers.Layer], x: Any, dtype: str = "int32") -> list[Any]:
    """The results of a chain of layers: called by hand, in Sequential, in a functional model."""
    by_hand = x
    for layer in chain:
        by_hand = layer(by_hand)
    symbolic = fm.Input((None, *np.shape(x)[2:]), dtype)
    y: Any = symbolic
    for layer in chain:
        y = layer(y)
    model = fm.Model(symbolic, y)
    if not isinstance(by_hand, list):
        assert (fm.get_mask(y) is None) == (fm.get_mask(by_hand) is None)
        assert len(y.shape) == by_hand.ndim
        assert y.shape[-1] == by_hand.shape[-1]
    return [by_hand, fm.Sequential(chain)(x), model(x)]


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, fm.Masked):
        np.testing.assert_array_equal(one.mask.valid, other.mask.valid)
        one, other = one.data, other.data
    np.testing.assert_array_equal(one, other)


def test_my_layer() -> None:
    layer = MyLayer()
    x = np.random.default_rng(0).integers(0, 100, (32, 10))
    first, *others = three_ways([layer], x)
    assert first.shape == (32, 32)
    for other in others:
        same(first, other)
    by_hand = layer.lstm(layer.embedding(x))
    same(first, by_hand)
    assert len(layer.get_weights()) == 4
    assert len(fm.Sequential([layer]).get_weights()) == 4


def test_temporal_split() -> None:
    chain = [layers.Embedding(5000, 4, mask_zero=True), TemporalSplit()]
    for first, second in three_ways(chain, IDS):
        np.testing.assert_array_equal(first.mask.valid, MASK[:, :3])
        np.testing.assert_array_equal(second.mask.valid, MASK[:, 3:])
        assert first.shape == second.shape == (3, 3, 4)


def test_temporal_split_each_half_read_on_its_own() -> None:
    ids = fm.Input((None,), "int32")
    first, second = TemporalSplit()(layers.Embedding(5000, 4, mask_zero=True)(ids))
    read = layers.LSTM(5)
    model = fm.Model(ids, [read(first), read(second)])
    one, two = model(IDS)
    embedding = next(layer for layer in model.layers if isinstance(layer, layers.Embedding))
    x = embedding(IDS).data
    same(one, read(x[:, :3], mask=MASK[:, :3]))
    same(two, read(x[:, 3:], mask=MASK[:, 3:]))


@pytest.mark.parametrize("mask_zero", [True, False])
def test_custom_embedding(mask_zero: bool, tmp_path: Path) -> None:
    layer = CustomEmbedding(10, 32, mask_zero=mask_zero)
    first, *others = three_ways([layer], SMALL)
    for other in others:
        same(first, other)
    mask = layer.compute_mask(SMALL)
    if not mask_zero:
        assert mask is None
        assert fm.get_mask(first) is None
        return
    np.testing.assert_array_equal(mask, SMALL != 0)
    np.testing.assert_array_equal(first.mask.valid, SMALL != 0)
    model = fm.Sequential([layer, layers.LSTM(3)])
    model.build((None, None))
    fm.save_model(model, tmp_path / "a.npz")
    again = fm.load_model(tmp_path / "a.npz", {"CustomEmbedding": CustomEmbedding})
    same(again(SMALL), model(SMALL))


def test_my_activation() -> None:
    chain = [layers.Embedding(5000, 16, mask_zero=True), MyActivation(), layers.LSTM(32)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, *others = three_ways(chain, IDS)
    for other in others:
        same(first, other)
    inputs = fm.Input((None,), dtype="int32")
    x = MyActivation()(layers.Embedding(5000, 16, mask_zero=True)(inputs))
    assert fm.get_mask(x) is not None


def test_temporal_softmax() -> None:
    chain = [layers.Embedding(10, 32, mask_zero=True), layers.Dense(1), TemporalSoftmax()]
    first, *others = three_ways(chain, SMALL)
    for other in others:
        same(first, other)
    assert first.shape == (4, 4, 1)
    np.testing.assert_allclose(first[:, :, 0].sum(axis=1), [1, 1, 0, 1], atol=1e-6)
    assert not first[:, :, 0][SMALL == 0].any()
    np.testing.assert_allclose(
        TemporalSoftmax()(np.float32([[[0.0], [1000.0]]]))[0, :, 0], [0, 1], atol=1e-6
    )


def test_the_guides_call_with_a_mask_of_its_own() -> None:
    inputs = fm.Input((None,), dtype="int32")
    x = layers.Dense(1)(layers.Embedding(10, 32, mask_zero=True)(inputs))
    model = fm.Model(inputs, TemporalSoftmax()(x))
    random = np.random.default_rng(0)
    y = model(random.integers(0, 10, (32, 100)), random.random((32, 100, 1)))
    assert y.shape == (32, 100, 1)
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-5)


def test_a_mask_that_layers_look_at_holds_no_shares() -> None:
    ids, shares = np.ones((2, 3), int), np.full((2, 3), 0.5)
    own = fm.Sequential([layers.Embedding(5, 2, mask_zero=True), layers.LSTM(2)])
    np.testing.assert_array_equal(own(ids, shares), own(ids))
    with pytest.raises(ValueError, match="additive attention mask"):
        own(ids, -shares)
    x = fm.Input((None,), "int32")
    both = fm.Model(x, [own(x), layers.Rescaling(2)(x)])
    for model in (both, fm.Sequential([layers.Embedding(5, 2), layers.LSTM(2)])):
        with pytest.raises(ValueError, match="True or 1 where a step is valid"):
            model(ids, shares)


class Noisy(layers.Layer):
    """Behaves differently in training."""

    supports_masking = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        return inputs + 1 if training else inputs


class Block(layers.Layer):
    """Sublayers in lists and attributes; does not pass `training` to them."""

    supports_masking = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = [Noisy(), layers.Dense(3)]
        self.by_name = {"last": Noisy()}
        self.own = Noisy()

    def call(self, inputs: Any) -> Any:
        for layer in (*self.steps, self.by_name["last"]):
            inputs = layer(inputs)
        return self.own(inputs, training=False)


def test_training_goes_down_to_sublayers() -> None:
    x = np.ones((2, 4, 3), np.float32)
    block = Block()
    plain = block(x)
    dense = block.steps[1]
    expected = dense(x + 1) + 1
    same(block(x, training=True), expected)
    same(block(x), plain)
    outer = fm.Sequential([fm.Sequential([block])])
    same(outer(x, training=True), expected)
    symbolic = fm.Input((None, 3))
    same(fm.Model(symbolic, block(symbolic))(x, training=True), expected)
    same(fm.Model(symbolic, block(symbolic, training=True))(x), expected)
    with pytest.raises(ValueError, match="must have shape"):
        block(np.ones((2, 4, 5)), training=True)
    same(block(x), plain)
    assert len(outer.get_weights()) == 2
    outer.set_weights([np.zeros((3, 3)), np.ones(3)])
    assert (block(x) == 1).all()
