"""Weights of a layer: made once, in order, and never replaced unnoticed."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import fastmask as fm

X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)


class Dropper(fm.layers.Layer):
    """Says nothing about masks."""

    def call(self, inputs: Any) -> Any:
        return inputs


class TestWeights:
    class Scale(fm.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.moved = self.add_weight((1,), "zeros", trainable=False, name="moved")
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

        def call(self, inputs: Any) -> Any:
            return inputs * self.scale + self.moved

    def test_order_and_setting(self) -> None:
        layer = self.Scale()
        np.testing.assert_array_equal(layer(X), X)
        assert [w.shape for w in layer.get_weights()] == [(2,), (1,)]
        layer.set_weights([[2, 3], [1]])
        np.testing.assert_array_equal(layer(X), X * np.float32([2, 3]) + 1)
        assert layer.count_params() == 3

    def test_shape_that_is_none(self) -> None:
        with pytest.raises(TypeError, match="shape of a weight must be a tuple of sizes, not 3"):
            Dropper().add_weight(3)  # type: ignore[arg-type]  # on purpose

    def test_cannot_be_replaced_unseen(self) -> None:
        layer = self.Scale()
        layer(X)
        layer.scale[...] = 3
        layer.scale += 1
        np.testing.assert_array_equal(layer(X), 4 * X)
        with pytest.raises(AttributeError, match=r"'scale' is a weight of layer .*set_weights"):
            layer.scale = np.ones(2)
        for built_in, name in (
            (fm.layers.Dense(2), "kernel"),
            (fm.layers.Embedding(3, 2), "embeddings"),
        ):
            built_in.build((None, 2))
            with pytest.raises(AttributeError, match="is a weight"):
                setattr(built_in, name, np.ones(2))

    def test_built_once(self) -> None:
        layer = self.Scale()
        assert not layer.built
        layer.build((None, 2))
        assert layer.built
        layer.build((None, 2))
        layer(X)
        assert len(layer.get_weights()) == 2

    def test_built_once_by_many_threads(self) -> None:
        layer = self.Scale()
        threads = [threading.Thread(target=layer, args=(X,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(layer.get_weights()) == 2

    def test_subclass_of_a_built_in_layer(self) -> None:
        class Biased(fm.layers.Dense):
            def build(self, input_shape: Any) -> None:
                super().build(input_shape)
                self.more = self.add_weight((1,), "ones")

            def call(self, inputs: Any) -> Any:
                return super().call(inputs) + self.more

        layer = Biased(5)
        assert layer.get_weights() == []
        assert layer(X).shape == (3, 4, 5)
        assert [w.shape for w in layer.get_weights()] == [(2, 5), (5,), (1,)]

    def test_defaults(self) -> None:
        layer = Dropper()
        assert layer.add_weight().shape == ()
        assert not layer.add_weight((2,), dtype="int64").any()
        assert layer.add_weight((2, 2)).dtype == np.float32
        with pytest.raises(ValueError, match="each size of a weight must be at least 0"):
            layer.add_weight((-1,))
        with pytest.raises(TypeError, match="each size of a weight must be an integer, not None"):
            layer.add_weight((None,))  # type: ignore[arg-type]  # on purpose
        with pytest.raises(ValueError, match="the initializer returned shape"):
            layer.add_weight((2,), initializer=lambda *_: np.zeros(3))


def test_layers_deep_in_containers_are_found() -> None:
    class Nested(fm.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.lists = [[fm.layers.Dense(2)]]
            self.dicts = {"k": [fm.layers.Dense(3)]}

        def call(self, inputs: Any) -> Any:
            return self.dicts["k"][0](self.lists[0][0](inputs))

    layer = Nested()
    layer(np.ones((1, 3)))
    assert [w.shape for w in layer.get_weights()] == [(3, 2), (2,), (2, 3), (3,)]
