"""The rounds of a cell's gradients, run in NumPy, against the gradients computed at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cells
from fastmask_kernels.cells.rounds import Backward, Place, backward_of
from fastmask_kernels.cpu.rnn.rounds import Rounds
from fastmask_kernels.formula import Symbol, evaluate

from . import formulas

ROWS, UNITS = 3, 5


CELLS = [cells.Cell(f) for f in (*formulas.ALL, *formulas.ROUNDS)]


class Run:
    """A backward step."""

    def __init__(self, cell: cells.Cell) -> None:
        self.cell, self.rng = cell, np.random.default_rng(7)
        self.backward: Backward = backward_of(cell)
        formula, gradients = cell.formula, cell.gradients
        leaves = [*formula.sums.values(), *formula.states.values(), *gradients.given.values()]
        self.known: dict[Symbol, Any] = {s: self.normal(ROWS, UNITS) for s in leaves}
        self.known |= {s: self.normal(UNITS) for s in formula.vectors.values()}
        weights = {name: self.normal(UNITS, UNITS) for name in formula.second}
        self.products = {cell.order.index(name): w for name, w in weights.items()}
        calls = {s: self.known[s.args[0]] for s in cell.called}  # an arbitrary value
        self.known |= {s: value + 0.5 for s, value in calls.items()}
        for symbol in formula.new:
            self.known[symbol] = evaluate([symbol], self.known)[0]
        saved = evaluate([s for s in cell.saved if s is not None], self.known)
        self.blocks = {n: saved.pop(0) for n, s in enumerate(cell.saved) if s is not None}
        self.planes: dict[int, Any] = {}
        for n, name in enumerate(cell.states):
            if n or self.backward.carries_h:
                self.planes[self.backward.plane_of(n)] = self.known[gradients.given[name]]

    def normal(self, *shape: int) -> Any:
        return self.rng.standard_normal(shape)

    def load(self, symbol: Symbol, place: Place, product: Any) -> Any:
        kind, number = place
        if kind == "product":
            return product
        if kind == "block":
            return self.blocks[number]
        if kind == "plane":
            return self.planes[number]
        if kind == "total":
            count = symbol.args[0].args[0] * UNITS
            return np.broadcast_to(
                self.planes[number].sum(axis=-1, keepdims=True) / count, (ROWS, UNITS)
            )
        return self.known[symbol]

    def run(self) -> None:
        product = next(iter(self.known[g] for g in self.cell.gradients.given.values()))
        for each in self.backward.rounds:
            if each.called is not None:
                name = self.cell.order[each.called]
                product = self.blocks[each.called] @ self.products[each.called].T
                self.known[self.cell.gradients.returned[name]] = product
            values = {s: self.load(s, place, product) for s, place in each.loads.items()}
            for symbol in each.computed:
                assert all(s in values or s.op == "constant" for s in symbol.operands)
                values[symbol] = evaluate([symbol], values)[0]
            for stored, (kind, number) in each.stores:
                value = np.zeros((ROWS, UNITS)) if stored is None else values[stored]
                (self.blocks if kind == "block" else self.planes)[number] = value


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_rounds_give_the_gradients(cell: cells.Cell) -> None:
    run = Run(cell)
    run.run()
    gradients, backward = cell.gradients, run.backward
    for n, name in enumerate(cell.order):
        expected = evaluate([gradients.sums[name]], run.known)[0]
        np.testing.assert_allclose(run.blocks[n], expected, rtol=0, atol=1e-12)
    for n, name in enumerate(cell.vectors):
        expected = evaluate([gradients.vectors[name]], run.known)[0]
        np.testing.assert_allclose(run.blocks[len(cell.saved) + n], expected, rtol=0, atol=1e-12)
    for n, name in enumerate(cell.states):
        gradient = gradients.states[name]
        if n or backward.carries_h:
            expected = 0 if gradient is None else evaluate([gradient], run.known)[0]
            plane = run.planes[backward.plane_of(n)]
            np.testing.assert_allclose(plane, expected, rtol=0, atol=1e-12)
        else:
            assert gradient is None


@pytest.mark.parametrize(
    ("cell", "rounds", "planes"),
    [
        (cells.lstm, 1, 1),
        (cells.gru, 1, 1),
        (cells.gru_reset_before, 2, 1),
        (cells.simple_rnn, 1, 0),
        (cells.Cell(formulas.called_in_turn), 3, None),
        (cells.Cell(formulas.called_side_by_side), 3, None),
        (cells.Cell(formulas.layer_normalized), 3, None),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_no_more_than_needed(cell: cells.Cell, rounds: int, planes: int | None) -> None:
    backward = backward_of(cell)
    assert len(backward.rounds) == rounds
    assert planes in (None, backward.planes)


def test_a_function_of_a_sum_waits_for_the_round_that_computes_with_it() -> None:
    """A gate that is rounded for storage would be rounded once more than one that is not."""
    formula = cells.gru_reset_before.formula
    first, second = Rounds(cells.gru_reset_before).rounds
    assert formula.sums["z"] not in first.known
    assert not any(kept.always for kept in first.kept)
    assert second.known[formula.sums["z"]] == Place("block", 1)
    assert [kept.block for kept in first.kept] == [2, 3]
    assert [kept.block for kept in second.kept] == [0, 1]
