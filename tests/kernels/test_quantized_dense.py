"""Quantized dense layers against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from fastmask_kernels.cpu.quantized.dense import dense, dense_pack, dense_packed_size
from fastmask_kernels.cpu.quantized.formats import BFLOAT16, INT8

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("format", [BFLOAT16, INT8], ids=lambda f: f.name)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (130, 33, 70), (2000, 64, 96)])
def test_dense(format, shape) -> None:  # type: ignore[no-untyped-def]  # formats are plain
    rows, features, units = shape
    random = np.random.default_rng(sum(shape))
    x = random.normal(size=(rows, features)).astype(np.float32)
    kernel = (random.normal(size=(features, units)) / features**0.5).astype(np.float32)
    bias = random.normal(size=units).astype(np.float32)
    packed = np.full(dense_packed_size(features, units, format), np.nan, np.float32)
    dense_pack(packed, kernel, bias, format)
    first = None
    for threads in (1, 2, 5):
        out = np.full((rows, units), np.nan, np.float32)
        dense(out, x, packed, threads, format)
        first = out if first is None else first
        np.testing.assert_array_equal(out, first)
    tolerance = {"bfloat16": 0.03, "int8": 0.06}[format.name]
    np.testing.assert_allclose(first, x @ kernel + bias, rtol=0, atol=tolerance)


def test_packed_of_another_shape() -> None:
    with pytest.raises(ValueError, match="dense_pack for 3 features, 4 units"):
        dense(np.empty((2, 4), "f4"), np.zeros((2, 3), "f4"), np.empty(5, "f4"), 1, INT8)
