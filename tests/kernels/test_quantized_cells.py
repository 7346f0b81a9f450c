"""Cells with quantized weights against NumPy, which rounds the same numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cells, cpu, reference
from fastmask_kernels.cells import Cell
from fastmask_kernels.cpu.quantized.bounds import is_bounded

from ..cases import CellCase, GRUCase
from ..own_cells import CELLS, cases_of_kinds, stepped

Step = reference.cells._Step
FORMATS = "bfloat16", "int8"
TOLERANCE = {"bfloat16": 4e-3, "int8": 8e-3}  # the effect of one number rounded the other way
AMPLIFIED = {"all_kinds": 4}  # it normalizes: it divides by a deviation that may be small


class Rounded:
    """A matrix that rounds itself and its other factor."""

    __array_ufunc__ = None

    def __init__(self, matrix: Any, form: str, least: float) -> None:
        self.form, self.least = form, least
        self.matrix = self.columns(matrix) if form == "int8" else bfloat16(matrix)

    def columns(self, matrix: Any) -> Any:
        scales = np.abs(matrix).max(axis=0, initial=0) / 127
        scales[scales == 0] = 1
        return np.rint(matrix / scales) * scales

    def __rmatmul__(self, x: Any) -> Any:
        if self.form == "bfloat16":
            return bfloat16(x) @ self.matrix
        scale = max(np.abs(x).max(initial=0), self.least) / 127
        return (np.rint(x / scale) * scale if scale else x) @ self.matrix


def bfloat16(values: Any) -> Any:
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the reference round as a format does."""

    def use(form: str) -> None:
        class RoundingStep(Step):
            def __init__(self, cell: Cell, weights: Any, call: Any) -> None:
                super().__init__(cell, weights, call)
                names = (self._chosen.get(n, "linear") for n in ("activation",))
                gates = self._chosen.get("recurrent_activation", "linear")
                least = float(is_bounded(cell, *names, gates))
                self._inputs = {n: Rounded(w, form, 0.0) for n, w in self._inputs.items()}
                self._recurrents = {n: Rounded(w, form, least) for n, w in self._recurrents.items()}

        monkeypatch.setattr(reference.cells, "_Step", RoundingStep)

    return use


def of_format(form: str) -> Any:
    return SimpleNamespace(kernels_of=lambda cell: cpu.kernels_of(cell, form))


def assert_close(found: list[Any], expected: list[Any], form: str, times: int = 1) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            a, b, rtol=0, atol=times * TOLERANCE[form] * max(1, np.abs(b).max(initial=0))
        )


def assert_equals_reference(own: Cell, form: str, rounding: Any, units: int, batch: int) -> None:
    rounding(form)
    for case in cases_of_kinds(own, batch, 5, 9, units):
        found = case.run(of_format(form))
        assert_close(found, case.run(reference), form, AMPLIFIED.get(own.name, 1))
        for threads in (2, 5):
            for a, b in zip(case.run(of_format(form), threads), found, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", [pytest.param("bfloat16", marks=pytest.mark.slow), "int8"])
def test_lstm(form: str, rounding: Any) -> None:
    assert_equals_reference(cells.lstm, form, rounding, 20, 7)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", CELLS)
def test_each_cell(name: str, form: str, rounding: Any) -> None:
    for units, batch in ((3, 2), (24, 20), (70, 13)):
        assert_equals_reference(CELLS[name], form, rounding, units, batch)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", CELLS)
def test_steps(name: str, form: str, rounding: Any) -> None:
    rounding(form)
    for units, batch in ((3, 2), (24, 20), (70, 130)):
        case = CellCase(batch, 1, 9, units, seed=units, own=CELLS[name])
        events = np.random.default_rng(3).random(batch) < 0.7
        _, *after = case.run(reference)
        for new, before, found in zip(
            after, case.states, stepped(case, of_format(form), events), strict=True
        ):
            assert_close([found], [np.where(events[:, None], new, before)], form)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("reset_after", [False, True])
def test_gru_with_a_bias_of_two_rows(form: str, reset_after: bool) -> None:
    case = GRUCase(6, 5, 9, 40, kind="holes", seed=1, reset_after=reset_after)
    made = cpu.kernels_in_form("gru", form, False)
    backend = SimpleNamespace(**{f"gru_{name}": one for name, one in made._asdict().items()})
    assert_close(case.run(backend), case.run(reference), "int8")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_call_that_threads_share(form: str) -> None:
    """With long and short rows: groups first, then common steps."""
    random = np.random.default_rng(5)
    for batch, time in ((1, 60), (3, 60), (40, 30)):
        case = CellCase(batch, time, 130, 150, kind="right", seed=batch, own=cells.lstm)
        case.weights = [w * random.uniform(0.9, 1.1) for w in case.weights]
        one, *others = (case.run(of_format(form), threads) for threads in (1, 2, 3))
        for other in others:
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)


def test_which_cells_are_bounded() -> None:
    assert is_bounded(cells.lstm, "tanh", "sigmoid")
    assert is_bounded(cells.gru, "tanh", "hard_sigmoid")
    assert is_bounded(cells.gru_reset_before, "sigmoid", "sigmoid")
    assert is_bounded(cells.simple_rnn, "tanh", "linear")
    assert not is_bounded(cells.simple_rnn, "relu", "linear")
    assert not is_bounded(cells.lstm, "relu", "sigmoid")
    assert not is_bounded(cells.lstm, "tanh", "linear")


def test_weights_that_are_not_finite() -> None:
    case = CellCase(1, 1, 3, 4, own=cells.lstm)
    case.weights[1][2, 3] = np.inf
    with pytest.raises(ValueError, match="finite to be quantized to int8"):
        case.run(of_format("int8"))
