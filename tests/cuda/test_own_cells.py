"""User-defined cells on the CUDA backend, against their formulas evaluated in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import reference
from fastmask_kernels.cells import Cell
from fastmask_kernels.cuda import use_weights
from fastmask_kernels.cuda.rnn import mma_layout, places, resident
from fastmask_kernels.formula import relu, sigmoid, tanh

from .. import formulas
from ..cases import CellCase, assert_close
from .backend import backend


def wide(a: Any, b: Any, c: Any, d: Any, e: Any, h: Any, s: Any, t: Any) -> Any:
    """Three states and five sums, some of x alone, some of h alone."""
    s, t = sigmoid(a) * s + tanh(b), 0.5 * t + relu(c)
    return tanh(d + s) * sigmoid(e - t), s, t


def scattered(a: Any, n: Any, b: Any, c: Any, h: Any, s: Any, *, v: Any) -> Any:
    """A called sum among others, and sums of h alone that are needed after its product."""
    first = sigmoid(a)
    value = tanh(n(first * h + v)) - b
    return first * h + value * tanh(c), s * first + a * v


def memoryless(a: Any, n: Any, h: Any) -> Any:
    """Only the called sum contains h."""
    return sigmoid(a) * tanh(n(a - h))


def of_h_alone(a: Any, b: Any, h: Any) -> Any:
    """No sum contains x."""
    return tanh(a) * sigmoid(b) + 0.3


CELLS = {
    "of_h_alone": Cell(of_h_alone, h_only=("a", "b")),
    "peephole": Cell(formulas.peephole),
    "coupled_gates": Cell(formulas.coupled_gates),
    "minimal_gated": Cell(formulas.minimal_gated),
    "independent": Cell(formulas.independent, x_only=("s",)),
    "odd": Cell(formulas.odd),
    "powers": Cell(formulas.powers),
    "wide": Cell(wide, x_only=("a",), h_only=("c",)),
    "scattered": Cell(scattered, h_only=("b", "c")),
    "called_of_h": Cell(scattered, x_only=("a",), h_only=("n",)),
    "memoryless": Cell(memoryless, x_only=("a",)),
}


def check(case: CellCase, save: str = "gates", tolerance: float = 0) -> None:
    """Compare outputs, last states, and what is saved at each step."""
    units, kept = case.units, [n for n, s in enumerate(case.own.saved) if s is not None]
    actual, expected = case.run(backend, save=save), case.run(reference, dtype="float64", save=save)
    if save == "gates" and kept:
        for results in actual, expected:
            blocks = results[-1].reshape(len(results[-1]), -1, units)
            results[-1] = blocks[:, kept]
    for one, wanted in zip(actual, expected, strict=True):
        assert one.dtype == case.dtype
        if tolerance:
            np.testing.assert_allclose(one, wanted, rtol=tolerance, atol=tolerance)
        else:
            assert_close(one, wanted, case.dtype)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("cell", CELLS)
def test_a_block(cell: str, number: int) -> None:
    case = CellCase(
        *((5, 4, 3, 7), (3, 3, 2, 9), (2, 3, 1, 4))[number],
        kind=("holes", "right", "left")[number],
        seed=number,
        dtype=("float32", "float64", "float32")[number],
        own=CELLS[cell],
        reverse=number == 1,
        zero_masked=number == 1,
    )
    check(case, save=("gates", "states", "nothing")[number])


@pytest.mark.parametrize("save", ["gates", "nothing"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_grid(cell: str, save: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident.Tile, "resident", property(lambda _: False))
    monkeypatch.setattr(places, "MOST_SPLIT", 2)
    check(CellCase(5, 3, 2, 9, kind="right", seed=1, own=CELLS[cell]), save)


@pytest.mark.parametrize("grid", [False, True], ids=["block", "grid"])
@pytest.mark.parametrize("cell", [name for name in CELLS if name != "wide"])
def test_tensor_cores(cell: str, grid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if grid:
        monkeypatch.setattr(mma_layout, "alone", lambda *_: None)
        monkeypatch.setattr(places, "MOST_SPLIT", 2)
    case = CellCase(9, 3, 2, 9, kind="right", seed=2, own=CELLS[cell], reverse=grid)
    with use_weights("tf32"):
        check(case, "nothing", tolerance=2e-2)  # weights have 10 bits of mantissa


@pytest.mark.parametrize("cell", CELLS)
def test_step(cell: str) -> None:
    case = CellCase(4, 1, 2, 5, kind="holes", seed=3, own=CELLS[cell])
    after = []
    for column in backend, reference:
        kernels, states = case.kernels(column), [state.copy() for state in case.states]
        packed = np.zeros(kernels.packed_size(2, 5, np.dtype("f4")), "f4")
        kernels.pack(packed, *case.weights)
        kernels.step(*states, case.x[:, 0].copy(), case.valid[:, 0].copy(), packed, 1)
        after.append(states)
    for one, wanted in zip(*after, strict=True):
        assert_close(one, wanted, "float32")


@pytest.mark.parametrize(
    ("formula", "form", "message"),
    [
        (formulas.layer_normalized, "float32", "the cell layer_normalized uses normalize"),
        (formulas.all_kinds, "float32", "the cell all_kinds uses normalize"),
        (wide, "bfloat16", "at most 4 sums: the cell wide has 5; use float32"),
    ],
)
def test_what_has_no_kernels(formula: Any, form: str, message: str) -> None:
    with use_weights(form), pytest.raises(ValueError, match=message):
        backend.kernels_of(Cell(formula)).packed_size(2, 3, np.dtype("f4"))


def test_two_calls() -> None:
    def two(a: Any, b: Any, h: Any) -> Any:
        return tanh(a(h * h)) + b(0.5 * h)

    with pytest.raises(ValueError, match="the cell two calls a and b"):
        backend.kernels_of(Cell(two)).packed_size(2, 3, np.dtype("f4"))
