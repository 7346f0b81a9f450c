"""Mistakes in custom layers and in calls of single layers: the error says what to write."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastmask as fm

L = fm.layers
X = fm.Masked(np.ones((2, 3, 4), np.float32), [[1, 1, 0], [1, 0, 0]])


class Pool(L.Layer):
    supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return (inputs * mask[..., None]).sum(1)


class Same(Pool):
    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's signature
        return mask


class Tensor:
    """A tensor of another library, which does not mix with NumPy arrays."""

    shape, dtype = (2, 3, 4), "torch.float32"
    __array_ufunc__ = None


Tensor.__module__ = "torch"
ops = ModuleType("keras.ops")
ops.tanh = lambda _: Tensor()  # type: ignore[attr-defined]  # a module made here


def symbolic(layer: Any) -> Any:
    return fm.Model(x := fm.Input((None, 4)), layer(L.Masking()(x)))


@pytest.mark.parametrize("call", [lambda layer: layer(X), symbolic])
def test_a_mask_for_an_output_without_steps(call: Any) -> None:
    told = (
        r"layer 'pool' \(of type Pool\) .* no compute_mask, but its output does not have the steps"
    )
    with pytest.raises(ValueError, match=f"^{told} .*: remove supports_masking, or let") as caught:
        call(Pool(name="pool"))
    assert "shape (" not in str(caught.value), "the user has chosen none"


def test_shapes_that_stand_for_any() -> None:
    with pytest.raises(ValueError, match=r"^compute_mask of layer 'same' .*\(2, 3\).*the same$"):
        Same(name="same")(X)
    with pytest.raises(ValueError, match=r"'same' was called on zeros, with 12 for each size that"):
        symbolic(Same(name="same"))


class Tanh(L.Layer):
    def call(self, inputs: Any) -> Any:
        return ops.tanh(inputs)  # type: ignore[attr-defined]  # wrong on purpose


class Both(Tanh):
    def call(self, inputs: Any) -> Any:
        return [inputs, super().call(inputs)]


class Product(Tanh):
    def call(self, inputs: Any) -> Any:
        return inputs * ops.tanh(inputs)  # type: ignore[attr-defined]  # wrong on purpose


class Nested(Tanh):
    def call(self, inputs: Any) -> Any:
        return Product(name="inner")(inputs)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (Tanh(), "returns a torch.Tensor$"),
        (Both(), "returns a torch.Tensor$"),
        (L.Lambda(ops.tanh), "returns a torch.Tensor$"),
        (L.Activation(ops.tanh), "returns a torch.Tensor$"),
        (L.Dense(2, activation=ops.tanh), "returns a torch.Tensor$"),
        (Product(), "uses keras.ops: (unsupported operand|operand 'Tensor' does not)"),
        (Nested(), "uses keras.ops: (unsupported operand|operand 'Tensor' does not)"),
    ],
)
def test_tensors_of_another_library(layer: Any, told: str) -> None:
    kind = "Product" if isinstance(layer, Nested) else type(layer).__name__
    message = rf"^layer '\w+' \(of type {kind}\) must compute with NumPy, .*, but {told}"
    for x in (X.data, X.to_ragged()):
        with pytest.raises(TypeError, match=message):
            layer(x)


def test_other_errors_stay_as_they_are() -> None:
    class Wrong(L.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

    with pytest.raises(AttributeError, match=r"has no attribute 'factor'$"):
        Wrong()(X.data)


def test_a_row_for_a_layer_that_is_not_built() -> None:
    row = np.random.default_rng(5).standard_normal((3, 4))
    for layer in (L.LSTM(2), L.Bidirectional(L.GRU(2)), fm.Sequential([L.LSTM(2)])):
        with pytest.raises(ValueError, match=r"; pass a single sequence as a batch .*, x\[None\]$"):
            layer(row)
        assert len(layer(row[None])) == 1
    with pytest.raises(ValueError, match=r"return_sequences=True$"):
        L.LSTM(2)(fm.Ragged(np.ones(3, np.float32), [0, 1, 3]))


def test_texts_for_a_bare_embedding() -> None:
    with pytest.raises(TypeError, match=r"such as 'a': a TextVec"):
        L.Embedding(5, 2, name="words")([["a", "b"]])
