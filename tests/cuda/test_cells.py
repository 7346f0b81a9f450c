"""Each cell of `fastmask.cells` on the CUDA backend, in both directions, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from fastmask_kernels import reference

from ..cases import CellCase, assert_close
from ..kernels.test_backward import assert_gradients_close
from ..own_cells import CELLS
from .backend import backend


def why_not(case: CellCase) -> str:
    """Why there are no kernels for a case's cell, or an empty string."""
    try:
        backend.kernels_of(case.own).packed_size(3, 7, np.dtype(case.dtype))
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("number", range(3))
def test_equals_reference(name: str, number: int) -> None:
    case = CellCase(
        *(4, 4, 3, 7),
        kind=("holes", "right", "row_off")[number],
        seed=number,
        dtype=("float32", "float64", "float32")[number],
        own=CELLS[name],
        reverse=number == 1,
        zero_masked=number == 2,
    )
    if why := why_not(case):
        assert f"the cell {case.own.name} uses normalize" in why
        return
    found, expected = (
        case.run(column, dtype=dtype, save="states")[: 1 + 2 * len(case.states)]
        for column, dtype in ((backend, case.dtype), (reference, "float64"))
    )
    for one, wanted in zip(found, expected, strict=True):
        assert_close(one, wanted, case.dtype)
    for save in ("gates", "states"):
        *gradients, _ = case.run_backward(backend, save=save)
        *wanted_gradients, _ = case.run_backward(reference, dtype="float64", save=save)
        for one, wanted in zip(gradients, wanted_gradients, strict=True):
            assert_gradients_close(one, wanted)
