"""Tensors with NumPy's interface, for layers on a GPU; tested on the CPU, with the same code."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from fastmask import activations
from fastmask.backends.cuda.torch_numpy import TorchArray
from fastmask.layers._attention import attend, causal, finite_where_masked, within
from fastmask.layers._heads import Heads
from fastmask.layers._windows import Windows

pytestmark = [
    pytest.mark.optional,
    pytest.mark.skipif(find_spec("torch") is None, reason="needs torch"),
]
X = np.random.default_rng(5).normal(size=(3, 4, 2)).astype(np.float32) * 4
NAMES = sorted(activations._BY_NAME)


def wrapped(array: np.ndarray) -> TorchArray:
    import torch

    return TorchArray(torch.from_numpy(array.copy()))


def same(found: TorchArray, expected: np.ndarray) -> None:
    assert type(found) is TorchArray
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found.tensor.numpy(), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_activations(name: str) -> None:
    function = activations.get(name)
    same(function(wrapped(X)), function(X))


def test_what_dense_masking_and_bidirectional_do() -> None:
    kernel, bias = X[0].T.copy(), X[0, :, 0].copy()
    y = wrapped(X).reshape(-1, 2) @ wrapped(kernel)
    y += wrapped(bias)
    same(y.reshape(3, 4, 4), X @ kernel + bias)
    valid = X[:, :, 0] > 0
    expected = np.where(valid[:, :, None], X, X.dtype.type(0))
    same(np.where(wrapped(valid)[:, :, None], wrapped(X), X.dtype.type(0)), expected)
    same(np.concatenate([wrapped(X), wrapped(2 * X)], axis=-1), np.concatenate([X, 2 * X], axis=-1))
    same((wrapped(X) + wrapped(X)) / 2, X)
    same(wrapped(X).astype("f8", order="C"), X.astype("f8"))


def test_sums() -> None:
    valid = wrapped(X) > 0
    same(valid.sum(axis=1, dtype=np.dtype("f4")), (X > 0).sum(axis=1, dtype="f4"))
    for name in ("mean", "var", "max"):
        expected = getattr(X, name)(axis=1, keepdims=True)
        same(getattr(wrapped(X), name)(axis=1, keepdims=True), expected)
    y, expected = wrapped(X), X.copy()
    y[y > 1] = expected[X > 1] = 0
    same(y, expected)
    assert not np.isneginf(y).tensor.any()


def test_attention() -> None:
    random = np.random.default_rng(1)
    q, k, v = (random.normal(size=(3, 2, 4, 5)).astype(np.float32) for _ in range(3))
    mask = random.random((3, 4)) < 0.5
    heads = Heads((), (1,))

    def attended(q: Any, k: Any, v: Any, mask: Any) -> Any:
        seen = np.logical_and(heads.mask(mask, (3, 4, 5))[..., None, :], causal(q, 4, 4))
        seen = np.logical_and(seen, within(q, 4, 4, 2))
        clean = finite_where_masked(v.transpose(0, 2, 1, 3), mask).transpose(0, 2, 1, 3)
        keys = k.transpose(0, 1, 3, 2)
        y, weights = attend(
            lambda part: q[part] @ keys[part], clean, seen, 32, keep_weights=True, none_is_zero=True
        )
        assert weights is not None
        return heads.together(y, (3, 4, 5)), weights

    expected = attended(q, k, v, mask)
    for one, other in zip(attended(*map(wrapped, (q, k, v, mask))), expected, strict=True):
        same(one, other)


def test_windows() -> None:
    for padding in ("valid", "same", "causal"):
        windows = Windows(3, 2, 1, padding)
        each = zip(windows.steps(wrapped(X), "x"), windows.steps(X, "x"), strict=True)
        for one, other in each:
            same(one, other)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(
        TypeError, match=r"numpy.pad of a torch tensor on a GPU is computed by CuPy"
    ):
        np.pad(wrapped(X), 1)
    with pytest.raises(AttributeError, match=r"numpy.ndarray.cumsum of a torch tensor"):
        wrapped(X).cumsum()
    with pytest.raises(TypeError, match=r"numpy.add of a torch tensor"):
        np.add.reduce(wrapped(X))
    with pytest.raises(TypeError, match=r"given together with a tensor on a GPU"):
        wrapped(X) + X
