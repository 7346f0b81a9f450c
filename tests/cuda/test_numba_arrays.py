"""Layers and operations on Numba arrays, in the simulator and on a GPU, against the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import cuda

import fastmask as fm

from .array_cases import HOLES, B, F, H, L, T, normal

pytestmark = pytest.mark.usefixtures("reference_on_the_host")


def as_numpy(value: Any) -> Any:
    return value.copy_to_host() if hasattr(value, "copy_to_host") else np.asarray(value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", [L.LSTM, L.GRU, L.SimpleRNN])
def test_layers(layer: Any, dtype: str) -> None:
    x = normal(B, T, F, dtype=dtype)
    x[~HOLES] = np.nan
    made = layer(H, return_sequences=True, dtype=dtype)
    expected, given = made(x, mask=HOLES), cuda.to_device(x)
    found = made(given, mask=cuda.to_device(HOLES))
    assert type(found.data) is type(given)
    np.testing.assert_allclose(as_numpy(found.data), expected.data, rtol=1e-5, atol=2e-6)


def test_a_model_that_makes_its_mask() -> None:
    x = normal(B, T, F)
    x[~HOLES] = 0
    model = fm.Sequential([L.Masking(), L.LSTM(H, return_sequences=True), L.GRU(H)])
    expected = model(x)
    np.testing.assert_allclose(as_numpy(model(cuda.to_device(x))), expected, atol=2e-6)
