"""The CPU's backward kernels of cells that are made from formulas.

The reference provides what the forward pass saves; its own gradients are checked by finite
differences (`test_cells`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastmask_kernels import cpu, reference
from fastmask_kernels.cells import Cell
from fastmask_kernels.cells.table import CellKernels
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.schedule import Schedule

from .. import formulas
from ..cases import CellCase
from ..own_cells import CELLS, EACH_COMPILED_CELL, cases_of_kinds
from .test_backward import assert_gradients_close
from .test_cells import loss

Array = NDArray[Any]

# In float64: all cells are compared in float32 elsewhere, and each takes seconds to compile.
SOME = ("peephole_lstm", "layer_norm_lstm", "gru_reset_before", "all_kinds")
EACH = pytest.mark.parametrize(
    "cell",
    [*(CELLS[name] for name in SOME), *map(Cell, formulas.ROUNDS)],
    ids=lambda cell: f"{cell.name}-{cell.digest[:4]}",
)


class _Mixed:
    """A backend with the reference's forward and the CPU's backward kernels."""

    @staticmethod
    def kernels_of(cell: Cell) -> CellKernels:
        return reference.kernels_of(cell)._replace(bwd=cpu.kernels_of(cell).bwd)


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("save", ["states", "gates"])
def test_equals_reference(cell: Cell, save: str) -> None:
    equals_reference(cell, save, "float64")


@pytest.mark.parametrize("save", ["states", "gates"])
@EACH_COMPILED_CELL
def test_float32(cell: Cell, save: str) -> None:
    equals_reference(cell, save, "float32")


def equals_reference(cell: Cell, save: str, dtype: str) -> None:
    """With each kind of mask, and outputs and `gates` that start full of NaN."""
    for case in cases_of_kinds(cell, 5, 6, 3, 9, dtype=dtype, spare=2):
        *found, gates = case.run_backward(_Mixed, save=save)
        *expected, _ = case.run_backward(reference, dtype="float64", save=save)
        assert np.isfinite(gates[: len(case.plan[1]) - case.spare]).all()
        for one, other in zip(found, expected, strict=True):
            assert_gradients_close(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("function", formulas.ROUNDS)
def test_finite_differences(function: Callable[..., Any]) -> None:
    rng = np.random.default_rng(12)
    for case in cases_of_kinds(Cell(function), 3, 4, 2, 3, dtype="float64"):
        gradients = case.run_backward(_Mixed, save="states")
        for number, (array, gradient) in enumerate(zip(case.inputs, gradients, strict=False)):
            valid = case.valid if number == 0 else ...
            direction = np.zeros_like(array)
            direction[valid] = rng.standard_normal(array[valid].shape)

            def at(
                distance: float, case: Any = case, number: int = number, d: Any = direction
            ) -> float:
                inputs = case.inputs
                inputs[number] = inputs[number] + distance * d
                return loss(case.with_inputs(inputs))

            slope = (8 * (at(1e-4) - at(-1e-4)) - (at(2e-4) - at(-2e-4))) / 12e-4
            found = np.sum(gradient[valid] * direction[valid])
            np.testing.assert_allclose(found, slope, rtol=1e-7, atol=1e-8, err_msg=case.kind)


@pytest.mark.slow
@EACH
def test_more_units_than_a_panel(cell: Cell) -> None:
    case = CellCase(7, 5, 3, 83, kind="holes", own=cell, dtype="float64")
    for save in ("states", "gates"):
        *found, _ = case.run_backward(_Mixed, save=save)
        *expected, _ = case.run_backward(reference, save=save)
        for one, other in zip(found, expected, strict=True):
            assert_gradients_close(one, other)


@pytest.mark.slow
@EACH
def test_sharing_does_not_change_a_bit(cell: Cell) -> None:
    schedules = [Schedule(2, 0, 0), Schedule(2, 2, 3), Schedule(5, 3, 2), Schedule(5, 0, 0)]
    for units in (9, 83):
        case = CellCase(12, 9, 3, units, kind="right", own=cell, dtype="float64")
        alone = case.run_backward(_Mixed)
        for schedule in schedules:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(run, "make_schedule", lambda *_, shared=schedule: shared)
                together = case.run_backward(_Mixed, threads=schedule.threads)
            for one, other in zip(together, alone, strict=True):
                np.testing.assert_array_equal(one, other)
