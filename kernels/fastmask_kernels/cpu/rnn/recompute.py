"""What a forward pass did not save, computed from the states before each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...formula import Symbol, evaluate, walk
from ...spec import ACTIVATIONS
from ..blas import multiply
from .columns import Columns, blocks_of
from .gradients import Array, Inputs, activate, row_blocks


class Recomputation:
    """How what is saved of a cell's steps is computed again."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        cell, formula = columns.cell, columns.cell.formula
        saved = {n: s for n, s in enumerate(cell.saved) if s is not None}
        self.blocks, self.saved = list(saved), list(saved.values())
        used = list(walk(self.saved))
        self.sums = [formula.sums[name] for name in cell.order]
        self.vectors = list(formula.vectors.values())
        self.states = {n: s for n, s in enumerate(formula.states.values()) if s in used}
        users = Counter([id(s) for s in self.saved] + [id(o) for s in used for o in s.operands])
        given = [*formula.states.values(), *self.vectors]
        self.owned = {id(s) for s in used if users[id(s)] == 1 and s not in given}
        self.block_of = {id(symbol): n for n, symbol in enumerate(self.sums)}

    def write(self, call: Any, inputs: Inputs, gates: Array) -> None:
        """Write what the forward pass can save.

        Args:
            call: the arguments of a backward kernel.
            inputs: what the sums are functions of.
            gates: (P, width H), written.
        """
        columns, units = self.columns, inputs.first[0].shape[1]
        kernel = blocks_of(call.kernel, columns.inputs, units)
        recurrent_kernel = blocks_of(call.recurrent_kernel, columns.at_once, units)
        bias = blocks_of(call.bias, columns.bias, units)
        begin, first = kernel.shape[1], columns.first * units
        end = first + recurrent_kernel.shape[1]
        vectors = [getattr(call, name) for name in columns.cell.vectors]
        known: dict[Symbol, Any] = dict(zip(self.vectors, vectors, strict=True))
        for block in row_blocks(len(gates)):
            rows = gates[block]
            z = rows[:, : len(bias)]
            multiply(inputs.x_rows(block), kernel, z[:, :begin])
            before = {n: inputs.states_before(block, n) for n in self.states}
            h = before[0] if 0 in before else inputs.states_before(block)
            of_h = multiply(h, recurrent_kernel)
            z[:, first:begin] += of_h[:, : begin - first]
            z[:, begin:end] = of_h[:, begin - first :]
            z[:, end:] = 0  # called, and without a part of x
            z += bias
            known |= {symbol: before[n] for n, symbol in self.states.items()}
            _Block(self, call, rows, units).save(known)


class _Block:
    """Some steps, whose sums stand in `rows` and give way to what is saved."""

    def __init__(self, how: Recomputation, call: Any, rows: Array, units: int) -> None:
        self._how, self._call, self._rows, self._units = how, call, rows, units
        self._sums = [self._block(n) for n in range(len(how.sums))]

    def _block(self, number: int) -> Array:
        return self._rows[:, number * self._units : (number + 1) * self._units]

    def save(self, known: dict[Symbol, Any]) -> None:
        """Evaluate what is saved, from the values of states and vectors."""
        how, cell = self._how, self._how.columns.cell
        chosen: dict[str, str] = {name: getattr(self._call, name) for name in cell.activations}
        functions: dict[str, Callable[..., Any]] = {
            "sum_of": self._call_sum,
            **{name: partial(self._activate, name) for name in ACTIVATIONS},
        }
        known = {**known, **dict(zip(how.sums, self._sums, strict=True))}
        values = evaluate(how.saved, known, chosen, functions)
        own = {id(v): n for n, v in enumerate(self._sums)}
        for i, n in enumerate(how.blocks):  # before another block is written
            if own.get(id(values[i]), n) != n:
                values[i] = values[i].copy()
        for n, value in zip(how.blocks, values, strict=True):
            if own.get(id(value)) != n:
                self._block(n)[:] = value

    def _call_sum(self, symbol: Symbol, value: Array, operand: Array) -> Array:
        name = symbol.args[0].args[0]
        begin = self._how.columns.cell.recurrents.index(name) * self._units
        weights = self._call.recurrent_kernel[:, begin : begin + self._units]
        rows = np.empty(value.shape, value.dtype)
        rows[:] = operand
        return value + multiply(rows, weights)

    def _activate(self, name: str, symbol: Symbol, x: Any) -> Array:
        """In place, where nothing else reads x."""
        operand = id(symbol.args[0])
        number = self._how.block_of.get(operand)
        if operand in self._how.owned and number is not None:
            begin = number * self._units
            activate(self._rows, begin, begin + self._units, name)
            return self._sums[number]
        if operand not in self._how.owned or np.ndim(x) < 2:
            x = np.array(x, self._rows.dtype, ndmin=2)
        values: Array = np.ascontiguousarray(x)
        activate(values, 0, values.shape[1], name)
        return values
