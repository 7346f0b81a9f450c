"""Gradients of user-defined cells on the CUDA backend, against their formulas in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import reference
from fastmask_kernels.cells import Cell
from fastmask_kernels.cuda import use_weights
from fastmask_kernels.cuda.rnn import mma_layout, places, resident
from fastmask_kernels.formula import sigmoid, tanh

from ..cases import CellCase
from ..kernels.test_backward import assert_gradients_close
from .backend import backend
from .test_own_cells import CELLS as MOST_CELLS


def without_h(a: Any, b: Any, h: Any, *, v: Any) -> Any:
    """No sum contains h, so that a step has no product."""
    return sigmoid(a + v * h) * h + tanh(b)


CELLS = MOST_CELLS | {"without_h": Cell(without_h, x_only=("a", "b"))}


def check(case: CellCase, save: str = "gates", want_dx: bool = True) -> None:
    expected = case.run_backward(reference, dtype="float64", save=save, want_dx=want_dx)
    actual = case.run_backward(backend, save=save, want_dx=want_dx)
    for one, wanted in zip(actual, expected, strict=True):
        assert one.dtype == case.dtype
        assert_gradients_close(one, wanted)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("cell", CELLS)
def test_a_block(cell: str, number: int) -> None:
    """Both dtypes and directions, with and without saved gates."""
    case = CellCase(
        *((5, 4, 3, 7), (3, 3, 2, 9), (2, 3, 1, 4))[number],
        kind=("holes", "right", "left")[number],
        seed=number,
        dtype=("float32", "float64", "float32")[number],
        own=CELLS[cell],
        reverse=number == 1,
        zero_masked=number == 1,
    )
    check(case, ("gates", "states", "gates")[number], want_dx=number != 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_grid(cell: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that last between the rounds of a step are in memory."""
    monkeypatch.setattr(resident.Tile, "resident", property(lambda _: False))
    monkeypatch.setattr(places, "MOST_SPLIT", 2)
    reverse = dtype == "float64"
    check(CellCase(5, 3, 2, 9, kind="right", seed=1, own=CELLS[cell], dtype=dtype, reverse=reverse))


@pytest.mark.parametrize("grid", [False, True], ids=["block", "grid"])
@pytest.mark.parametrize(
    # Negative powers would enlarge what tensor cores round.
    "cell",
    [name for name in CELLS if name not in ("powers", "wide", "without_h")],
)
def test_tensor_cores(cell: str, grid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if grid:
        monkeypatch.setattr(mma_layout, "alone", lambda *_: None)
        monkeypatch.setattr(places, "MOST_SPLIT", 2)
    case = CellCase(9, 3, 2, 9, kind="right", seed=2, own=CELLS[cell], reverse=grid)
    expected = case.run_backward(reference, dtype="float64")
    with use_weights("tf32"):
        actual = case.run_backward(backend)
    for one, wanted in zip(actual, expected, strict=True):  # gradients have 10 bits of mantissa
        np.testing.assert_allclose(one, wanted, rtol=3e-2, atol=3e-2)
