"""Packed weights: where they begin, and that every element of them is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cpu, reference
from fastmask_kernels.memory import CACHE_LINE

from .cases import RecurrentCase
from .test_cpu_forward import EACH_CELL, MAKERS

EACH_COLUMN = pytest.mark.parametrize("column", [reference, cpu], ids=["reference", "cpu"])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@EACH_COLUMN
def test_memory_begins_on_a_cache_line(column: Any, dtype: str) -> None:
    held = []  # so that no memory is given out twice
    for size in (*range(70), 1000, 4097, 10**6):
        found = column.aligned_empty(size, np.dtype(dtype))
        assert (found.shape, found.dtype) == ((size,), np.dtype(dtype))
        assert found.ctypes.data % CACHE_LINE == 0
        found.fill(1)
        held.append(found)


def packed(case: RecurrentCase, column: Any, filled_with: float) -> Any:
    """The packed weights of a case, in memory that held a number before."""
    size = getattr(column, f"{case.cell}_packed_size")(
        case.features, case.units, np.dtype(case.dtype)
    )
    found = np.full(size, filled_with, case.dtype)
    getattr(column, f"{case.cell}_pack")(found, *case.weights, *case.pack_options)
    return found


@pytest.mark.parametrize("units", [1, 5, 7, 8, 16, 17, 20, 33, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@EACH_COLUMN
@EACH_CELL
def test_every_element_is_written(cell: str, column: Any, dtype: str, units: int) -> None:
    case = MAKERS[cell](1, 1, 3, units, seed=units, dtype=dtype)
    found = packed(case, column, np.nan)
    assert not np.isnan(found).any()
    np.testing.assert_array_equal(found, packed(case, column, 7.0))
