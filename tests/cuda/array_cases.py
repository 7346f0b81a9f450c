"""Arrays of stand-ins for GPU array libraries, and cases to compute with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask_kernels.cuda.runtime import device as _device

from .owners import CupyLike, NumbaLike

STAND_INS = [
    pytest.mark.skipif(
        not _device.SIMULATED,
        reason="the stand-ins for libraries of arrays use the simulator's memory",
    ),
    pytest.mark.usefixtures("reference_on_the_host"),
]
"""The marks of tests that use the stand-ins."""

L = fm.layers
KINDS = [CupyLike, NumbaLike]
B, T, F, H = 3, 4, 2, 3
HOLES = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]], bool)


def normal(*shape: int, dtype: str = "f4", seed: int | None = None) -> np.ndarray:
    """Random numbers; without a seed they depend on the test (see tests/conftest.py)."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def put(value: Any, kind: type[NumbaLike]) -> Any:
    """The same on a GPU; masks stay on the host."""
    if isinstance(value, fm.Masked):
        return fm.Masked(put(value.data, kind), value.mask)
    if isinstance(value, (list, tuple)):
        return type(value)(put(one, kind) for one in value)
    return kind(value) if isinstance(value, np.ndarray) else value


def same(found: Any, expected: Any, kind: type[NumbaLike]) -> None:
    """Assert equal numbers, masks, shapes and dtypes, and the given kind of array."""
    if isinstance(expected, (list, tuple)):
        assert type(found) is type(expected)
        for pair in zip(found, expected, strict=True):
            same(*pair, kind)
    elif isinstance(expected, fm.Masked):
        np.testing.assert_array_equal(np.asarray(found.mask), expected.mask.valid)
        same(found.data, expected.data, kind)
    else:
        assert type(found) is kind
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.array, expected, atol=2e-6)


CELLS: dict[str, tuple[Callable[..., Any], int, tuple[int, ...], dict[str, Any]]] = {
    "lstm": (fm.ops.lstm, 4, (4 * H,), {}),
    "gru": (fm.ops.gru, 3, (2, 3 * H), {}),
    "gru_before": (fm.ops.gru, 3, (3 * H,), {"reset_after": False}),
    "rnn": (fm.ops.rnn, 1, (H,), {"activation": "relu"}),
}


def arguments(cell: str, dtype: str = "f4") -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    function, gates, bias, options = CELLS[cell]
    arrays = [normal(B, T, F), normal(F, gates * H), normal(H, gates * H), normal(*bias)]
    return function, [one.astype(dtype) for one in arrays], options


def with_weights(layer: Any, x: Any) -> Any:
    """The layer with random weights, biases included."""
    layer(x)
    layer.set_weights([normal(*one.shape) for one in layer.get_weights()])
    return layer


SEQUENCES = fm.Masked(np.where(HOLES[:, :, None], normal(B, T, F, seed=7), 0).astype("f4"), HOLES)
