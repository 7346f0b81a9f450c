"""The values in one step of a cell, whatever computes its products and its functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..formula import Symbol
from .cell import Cell

Known = dict[Symbol, Any]


def step_values(
    cell: Cell,
    states: Sequence[Any],
    vectors: Sequence[Any],
    part_of_x: Callable[[str], Any],
    product: Callable[[str, Any], Any],
    evaluate: Callable[[Sequence[Symbol], Known], list[Any]],
) -> Known:
    """The values from which all others of a step follow.

    Args:
        cell: the cell.
        states: before the step.
        vectors: the vectors.
        part_of_x: gives the part of a sum, by name, that does not depend on h, bias included.
        product: gives the product of a value with a sum's columns of the recurrent kernel.
        evaluate: gives the values of symbols from those that are known.

    Returns:
        The values of states, vectors, sums, and calls of sums.
    """
    formula = cell.formula
    known = dict(zip(formula.states.values(), states, strict=True))
    known |= dict(zip(formula.vectors.values(), vectors, strict=True))
    for name, symbol in formula.sums.items():
        known[symbol] = part_of_x(name)
        if name in cell.recurrents and name not in formula.second:
            known[symbol] = known[symbol] + product(name, states[0])
    for call in cell.called:
        summed, argument = call.args
        (value,) = evaluate([argument], known)
        known[call] = known[summed] + product(summed.args[0], value)
    return known
