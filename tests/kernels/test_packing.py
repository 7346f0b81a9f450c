"""Packed weights: their alignment, and that every element is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels.memory import CACHE_LINE

from ..cases import RecurrentCase
from ..each import EACH_BACKEND, EACH_FORM, FORMS


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@EACH_BACKEND
def test_memory_begins_on_a_cache_line(backend: Any, dtype: str) -> None:
    held = []  # so that no memory is reused
    for size in (*range(70), 1000, 4097, 10**6):
        found = backend.aligned_empty(size, np.dtype(dtype))
        assert (found.shape, found.dtype) == ((size,), np.dtype(dtype))
        assert found.ctypes.data % CACHE_LINE == 0
        found.fill(1)
        held.append(found)


def packed(case: RecurrentCase, backend: Any, filled_with: float) -> Any:
    """The packed weights of a case, in memory that held a number before."""
    size = getattr(backend, f"{case.cell}_packed_size")(
        case.features, case.units, np.dtype(case.dtype)
    )
    found = np.full(size, filled_with, case.dtype)
    getattr(backend, f"{case.cell}_pack")(found, *case.weights, *case.pack_options)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@EACH_BACKEND
@EACH_FORM
def test_every_element_is_written(cell: str, backend: Any, dtype: str) -> None:
    for units in (1, 5, 7, 8, 16, 17, 20, 33, 100):
        case = FORMS[cell](1, 1, 3, units, seed=units, dtype=dtype)
        found = packed(case, backend, np.nan)
        assert not np.isnan(found).any(), units
        np.testing.assert_array_equal(found, packed(case, backend, 7.0), err_msg=f"{units} units")
