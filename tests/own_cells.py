"""Cells made of formulas: those of the kernels, and one of each kind of formula that there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cells, cpu, reference
from fastmask_kernels.cells import Cell, cell

from . import formulas
from .cases import MASK_KINDS, CellCase

_KERNELS = (cells.lstm, cells.gru, cells.gru_reset_before, cells.simple_rnn)
_OWN = (
    *(Cell(function) for function in formulas.ALL),
    cell(x_only=("s",))(formulas.independent),
    cell(x_only=("n",), h_only=("q",))(formulas.gru_reset_after),
    cell(h_only=("n",))(formulas.minimal_gated),
)

CELLS: dict[str, Cell] = {
    **{one.name: one for one in _KERNELS},
    **{f"own_{one.name}_{one.digest[:4]}": one for one in _OWN},
}
BACKENDS = {
    name: backend
    for name, backend in (("reference", reference), ("cpu", cpu))
    if hasattr(backend, "kernels_of")
}

EACH_OWN_CELL = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
EACH_OWN_KERNEL = pytest.mark.parametrize(
    ("cell", "backend"),
    [
        pytest.param(one, backend, id=f"{name}-{of}")
        for name, one in CELLS.items()
        for of, backend in BACKENDS.items()
    ],
)


def cases_of_kinds(cell: Cell, *sizes: int, **options: Any) -> list[CellCase]:
    """A case of a cell for each kind of mask, of sizes B, T, F, H, in both directions."""
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


def weights_of(cell: Cell, features: int, units: int, seed: int) -> list[Any]:
    """Random weights in the user's order: kernel, recurrent kernel, bias, vectors."""
    return CellCase(1, 1, features, units, seed=seed, own=cell, dtype="float64").weights


def stepped(case: CellCase, backend: Any, events: Any) -> list[Any]:
    """The states of a case one step later, of those rows that have an event."""
    kernels = case.kernels(backend)
    packed = np.empty(
        kernels.packed_size(case.features, case.units, np.dtype(case.dtype)), case.dtype
    )
    kernels.pack(packed, *case.weights)
    states = [state.copy() for state in case.states]
    kernels.step(*states, case.x[:, 0].copy(), events, packed, *case.options, 1)
    return states
