"""Tensors on the host in fastmask's own layers, which return NumPy arrays for any input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

VALID = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
X = np.random.default_rng(7).normal(size=(3, 4, 2)).astype(np.float32)
KERNEL = np.random.default_rng(8).normal(size=(2, 12))
STATES = np.random.default_rng(9).normal(size=(3, 12))
L = fm.layers
LSTM = L.LSTM(2, return_sequences=True, return_state=True)


class Doubled(L.Layer):
    supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        assert (type(inputs), type(mask)) == (np.ndarray, np.ndarray)
        return 2 * inputs


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "layer": lambda x, _: L.Dense(2, kernel_initializer="ones")(x),
    "mask": lambda x, mask: L.ReLU()(x, mask=mask),
    "Masked": lambda x, mask: L.Identity()(fm.Masked(x, mask)),
    "list": lambda x, _: L.Add()([x, x]),
    "Masking": lambda x, _: L.Masking()(x),
    "custom": lambda x, mask: Doubled()(x, mask=mask),
    "states": lambda x, mask: LSTM(x, mask=mask, initial_state=[x[:, 0], x[:, 1]]),
    "Embedding": lambda _, mask: L.Embedding(2, 3, "ones", mask_zero=True)(mask),
    "Sequential": lambda x, _: fm.Sequential([L.ReLU(), L.Identity()])(x),
    "predict": lambda x, _: fm.Sequential([L.ReLU()]).predict(x, verbose=0),
    "lstm": lambda x, mask: fm.ops.lstm(x, KERNEL, STATES[:3], mask=mask),
    "gru": lambda x, mask: fm.ops.gru(x, KERNEL[:, :9], STATES[:3, :9], mask=mask),
    "rnn": lambda x, mask: fm.ops.rnn(x, KERNEL[:, :3], STATES[:3, :3], mask=mask),
    "Mask": lambda _, mask: [fm.Mask(mask).valid, fm.Mask(mask).lengths],
    "pad": lambda x, _: fm.pad([x[0], x[1, :2]]),
    "unpad": lambda x, mask: fm.unpad(fm.Masked(x, mask)),
}


def arrays(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from arrays(one)
    elif isinstance(value, fm.Masked):
        yield from (value.data, value.mask.valid)
    else:
        yield value


@pytest.mark.parametrize("call", CALLS)
def test_arrays_come_out(call: str) -> None:
    found = list(arrays(CALLS[call](torch.from_numpy(X), torch.from_numpy(VALID))))
    expected = list(arrays(CALLS[call](X, VALID)))
    assert {type(one) for one in found} == {np.ndarray}
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_tensors() -> None:
    layer = L.GRU(3)
    layer.build((None, None, 2))
    weights = layer.get_weights()
    layer.set_weights([torch.from_numpy(2 * one) for one in weights])
    for one, before in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, 2 * before)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(3, 4, 2, dtype=torch.bfloat16), r"torch.Tensor \(torch.bfloat16\)"),
        (
            torch.ones(3, 4, 2, requires_grad=True),
            r"requires grad. Use tensor.detach\(\).*fastmask.torch",
        ),
        (torch.ones(3, 4, 2).to_sparse(), "Sparse layout"),
    ],
)
def test_what_numpy_cannot_hold(tensor: Any, message: str) -> None:
    layer = L.Dense(2)
    layer.build((None, 2))
    for name, call in {
        "inputs": lambda: layer(tensor),
        "data": lambda: fm.Masked(tensor, VALID),
        "x": lambda: fm.ops.lstm(tensor, KERNEL, STATES[:3]),
        "mask": lambda: layer(X, mask=tensor),
        "kernel": lambda: fm.ops.lstm(X, tensor, STATES[:3]),
        r"weights\[0\]": lambda: layer.set_weights([tensor, tensor]),
        r"initial_state\[0\]": lambda: L.GRU(3)(X, initial_state=[tensor]),
    }.items():
        with pytest.raises(TypeError, match=rf"^{name} must be what NumPy can hold.*{message}"):
            call()


def test_half_precision_is_taken() -> None:
    x = torch.from_numpy(X).half()
    np.testing.assert_array_equal(L.ReLU()(x), np.maximum(X.astype(np.float16), 0))
