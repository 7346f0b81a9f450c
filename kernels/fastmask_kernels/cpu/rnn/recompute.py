"""What a forward pass did not save, computed from the states before each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...cells import Cell
from ...formula import Symbol, evaluate, walk
from ...spec import ACTIVATIONS
from ..blas import multiply
from .columns import Columns, blocks_of
from .gradients import Array, Inputs, activate, row_blocks


def compute_gates(call: Any, columns: Columns, inputs: Inputs, gates: Array) -> None:
    """Write what the forward pass can save.

    Args:
        call: the arguments of a backward kernel.
        columns: those of the cell.
        inputs: what the sums are functions of.
        gates: (P, width H), written.
    """
    cell, units = columns.cell, inputs.first[0].shape[1]
    kernel = blocks_of(call.kernel, columns.inputs, units)
    recurrent_kernel = blocks_of(call.recurrent_kernel, columns.at_once, units)
    bias = blocks_of(call.bias, columns.bias, units)
    begin, end = kernel.shape[1], len(cell.sums) * units
    at_once = slice(columns.first * units, columns.first * units + recurrent_kernel.shape[1])
    for block in row_blocks(len(gates)):
        rows = gates[block]
        multiply(inputs.x_rows(block), kernel, rows[:, :begin])
        rows[:, begin:end] = 0
        if columns.at_once.numbers:
            rows[:, at_once] += multiply(inputs.states_before(block), recurrent_kernel)
        rows[:, :end] += bias
        _Block(call, cell, inputs, block, rows).save()


class _Block:
    """Some steps, whose sums stand in `rows` and give way to what is saved."""

    def __init__(self, call: Any, cell: Cell, inputs: Inputs, block: slice, rows: Array) -> None:
        self._call, self._cell, self._rows = call, cell, rows
        self._units = inputs.first[0].shape[1]
        self._saved = [(n, s) for n, s in enumerate(cell.saved) if s is not None]
        used = list(walk(s for _, s in self._saved))
        self._users = Counter(id(o) for s in used for o in s.operands)
        self._users.update(id(s) for _, s in self._saved)
        formula = cell.formula
        self._sums = {formula.sums[name]: self._block(n) for n, name in enumerate(cell.order)}
        self._known: dict[Symbol, Any] = {
            symbol: inputs.states_before(block, n)
            for n, symbol in enumerate(formula.states.values())
            if symbol in used
        }
        self._known |= {s: getattr(call, name) for name, s in formula.vectors.items()}

    def _block(self, number: int) -> Array:
        return self._rows[:, number * self._units : (number + 1) * self._units]

    def save(self) -> None:
        """Evaluate what is saved."""
        chosen: dict[str, str] = {
            name: getattr(self._call, name) for name in self._cell.activations
        }
        functions: dict[str, Callable[..., Any]] = {
            "sum_of": self._call_sum,
            **{name: partial(self._activate, name) for name in ACTIVATIONS},
        }
        symbols = [s for _, s in self._saved]
        values = evaluate(symbols, self._known | self._sums, chosen, functions)
        own = {id(v): n for n, v in enumerate(self._sums.values())}
        values = [  # before another block is written
            v.copy() if own.get(id(v), n) != n else v
            for (n, _), v in zip(self._saved, values, strict=True)
        ]
        for (n, _), value in zip(self._saved, values, strict=True):
            if own.get(id(value)) != n:
                self._block(n)[:] = value

    def _call_sum(self, symbol: Symbol, value: Array, operand: NDArray[Any]) -> Array:
        begin = self._cell.recurrents.index(symbol.args[0].args[0]) * self._units
        weights = self._call.recurrent_kernel[:, begin : begin + self._units]
        rows = np.empty(value.shape, value.dtype)
        rows[:] = operand
        return value + multiply(rows, weights)

    def _activate(self, name: str, symbol: Symbol, x: Any) -> Array:
        """In place, where nothing else reads x."""
        operand, dtype = symbol.args[0], self._rows.dtype
        if operand in self._sums and self._users[id(operand)] == 1:
            begin = self._cell.order.index(operand.args[0]) * self._units
            activate(self._rows, begin, begin + self._units, name)
            return self._sums[operand]
        if operand.op in ("state", "vector") or self._users[id(operand)] > 1 or np.ndim(x) < 2:
            x = np.array(x, dtype, ndmin=2)
        values: Array = np.ascontiguousarray(x)
        activate(values, 0, values.shape[1], name)
        return values
