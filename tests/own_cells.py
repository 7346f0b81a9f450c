"""Cells made from formulas: those of `fastmask.cells`, and formulas of other kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask_kernels import cpu, reference
from fastmask_kernels.cells import Cell

from . import formulas
from .cases import MASK_KINDS, CellCase

CELLS: dict[str, Cell] = {
    **fm.cells.CELLS,
    "odd": Cell(formulas.odd),
    "powers": Cell(formulas.powers),
    "all_kinds": Cell(formulas.all_kinds, x_only=("a",), h_only=("b", "d")),
}
BACKENDS = {"reference": reference, "cpu": cpu}

QUICK = ("lstm", "gru", "gru_reset_before", "simple_rnn", "peephole_lstm")
"""Cells whose compiled kernels are tested in each run; the others only with slow tests."""


def marks_of(name: str) -> Any:
    """The marks of a test of a cell's compiled kernels."""
    return () if name in QUICK else pytest.mark.slow


EACH_BACKEND_OF_CELLS = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
EACH_OWN_CELL = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
EACH_COMPILED_CELL = pytest.mark.parametrize(
    "cell", [pytest.param(one, id=name, marks=marks_of(name)) for name, one in CELLS.items()]
)
EACH_OWN_KERNEL = pytest.mark.parametrize(
    ("cell", "backend"),
    [
        pytest.param(one, backend, id=f"{name}-{of}", marks=marks_of(name) if of == "cpu" else ())
        for name, one in CELLS.items()
        for of, backend in BACKENDS.items()
    ],
)


def cases_of_kinds(cell: Cell, *sizes: int, **options: Any) -> list[CellCase]:
    """Cases of a cell with each kind of mask, of sizes B, T, F, H, in both directions."""
    return [
        CellCase(
            *sizes,
            kind=kind,
            seed=number,
            own=cell,
            reverse=bool(number % 2),
            zero_masked=number % 3 == 0,
            sequences=number != 4,
            **options,
        )
        for number, kind in enumerate(MASK_KINDS)
    ]


def stepped(case: CellCase, backend: Any, events: Any) -> list[Any]:
    """The states of a case after one step of the rows that have an event."""
    kernels = case.kernels(backend)
    packed = np.empty(
        kernels.packed_size(case.features, case.units, np.dtype(case.dtype)), case.dtype
    )
    kernels.pack(packed, *case.weights)
    states = [state.copy() for state in case.states]
    kernels.step(*states, case.x[:, 0].copy(), events, packed, *case.options, 1)
    return states
