"""Which cells' outputs stay between -1 and 1, so that one scale fits all of them."""

from __future__ import annotations

from functools import cache

import numpy as np

from ...cells.cell import Cell
from ...cells.values import step_values
from ...formula import evaluate

TRIALS = 4096


@cache
def is_bounded(cell: Cell, activation: str, recurrent_activation: str) -> bool:
    """Whether h stays between -1 and 1, in trials with sums and states of all sizes.

    A row that exceeds this all the same gets a scale of its own, see `rows`.

    Args:
        cell: the cell.
        activation: what the formula leaves to the layer, by name.
        recurrent_activation: likewise.
    """
    random = np.random.default_rng(0)
    chosen = {"activation": activation, "recurrent_activation": recurrent_activation}

    def any_size() -> np.ndarray:
        return random.normal(size=(TRIALS, 2)) * 10.0 ** random.uniform(-1, 2, (TRIALS, 1))

    states = [random.uniform(-1, 1, (TRIALS, 2)), *(any_size() for _ in cell.states[1:])]
    with np.errstate(all="ignore"):
        known = step_values(
            cell,
            states,
            [any_size() for _ in cell.vectors],
            lambda _name: any_size(),
            lambda _name, _value: any_size(),
            lambda symbols, known: evaluate(symbols, known, chosen),
        )
        h = evaluate(cell.formula.new[:1], known, chosen)[0]
        return bool((np.abs(h) <= 1).all())
