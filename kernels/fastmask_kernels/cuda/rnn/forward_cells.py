"""What a thread does at a step besides products: device functions for all its cells.

A thread has `own * per` cells: unit u of the thread for sequence s of the thread is its cell
i = u * per + s. What it knows of them is in registers, in arrays whose every index is a constant:

    sums     what a product gave, see `Products.sum_at`
    zs       [cell][sum]       a row of z; between two rounds, what the second needs of the first
    states   [state][cell]
    operand  [cell]            what a sum is called on
    given    [number][unit]    biases of sums that x has no part in, then vectors
    count    [sequence]        steps of the sequence; -1 where the thread has no cell
    at, to   [sequence]        where the thread's first unit stands in the step's rows of z, and
                               in rows of H numbers
    state    [sequence]        and in the states before the first step and after the last one
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

from ...cells import Cell
from ...formula import Symbol, walk
from ..ops import in_turn
from .columns import of_h
from .emit import Body, Kind
from .forward_products import Products


class Saves(NamedTuple):
    """What a time loop leaves at each step, known when it is compiled."""

    h: bool
    states: bool  # other than h
    gates: bool
    apart: bool  # rows of h are H numbers long, not those of z; rows of other states always are


class Registers(NamedTuple):
    """The arrays of a thread, see above."""

    sums: Any
    zs: Any
    states: Any
    operand: Any
    given: Any
    count: Any
    row: Any
    at: Any
    to: Any
    state: Any


class Rows(NamedTuple):
    """Arrays of all sequences."""

    z: Any
    states: Any  # by state, after each step
    first: Any  # by state, before the first step
    last: Any  # by state, after the last one
    offsets: Any
    order: Any


class ForwardCells:
    """The device functions of a thread's cells.

    Args:
        kind: the cell.
        real: type of its numbers.
        products: what the thread multiplies.
        saves: what is left at each step.

    Raises:
        ValueError: the cell needs what the kernels do not have.
    """

    def __init__(self, kind: Kind, real: Any, products: Products, saves: Saves) -> None:
        self._kind, self._real, self._products, self._saves = kind, real, products, saves
        self._cell: Cell = kind.cell
        self._range = range(products.own * products.per)

    @property
    def zs_size(self) -> int:
        """Numbers of all cells' rows of z."""
        return len(self._cell.order) * len(self._range)

    @cached_property
    def kept(self) -> dict[Symbol, int]:
        """What the second round needs of the first, and the block of z that it waits in."""
        cell = self._cell
        if not cell.called:
            return {}
        found: dict[Symbol, None] = {}
        targets = [*cell.formula.new, *(cell.saved if self._saves.gates else ())]
        for target in targets:
            if target is not None:
                found |= dict.fromkeys(_first_needed(target))
        needed = [s for s in found if not _made_of(s, [o for o in found if o is not s])]
        free = [n for n, name in enumerate(cell.order) if name not in cell.formula.second]
        if len(needed) > len(free):
            needed = [cell.formula.sums[cell.order[n]] for n in free]
        return dict(zip(needed, free))

    @cached_property
    def read(self) -> Any:
        """Device function: rows of z, where there is a step k; in a grid, also what they keep."""
        return in_turn([self._read(i) for i in self._range])

    @cached_property
    def round(self) -> tuple[Any, ...]:
        """Device functions: what follows each product."""
        last = in_turn([self._finish(i) for i in self._range])
        return (
            (in_turn([self._call(i) for i in self._range]), last) if self._cell.called else (last,)
        )

    _PARAMETERS = ("r", "rows", "k", "unit", "units")

    def _body(self, i: int, known: dict[Symbol, str]) -> Body:
        cell, products = self._cell, self._products
        own, u = products.own, i // products.per
        for n, vector in enumerate(cell.formula.vectors.values()):
            known[vector] = f"r.given[{(len(cell.formula.h_only) + n) * own + u}]"
        for n, state in enumerate(cell.formula.states.values()):
            known[state] = f"r.states[{n * len(self._range) + i}]"
        return Body(self._kind, self._real, known, products.fast)

    def _before_product(self, i: int, name: str) -> str:
        """A sum without its part of h."""
        number, inputs = self._cell.order.index(name), len(self._cell.inputs)
        if number < inputs:
            return f"r.zs[{len(self._cell.order) * i + number}]"
        return f"r.given[{(number - inputs) * self._products.own + i // self._products.per}]"

    def _first_sums(self, i: int) -> dict[Symbol, str]:
        """All sums that are known after the product with h."""
        cell, columns = self._cell, of_h(self._cell)
        known = {}
        for name in cell.order:
            if name not in cell.formula.second:
                known[cell.formula.sums[name]] = self._before_product(i, name)
                if name in columns:
                    place = self._products.sum_at(len(columns), columns.index(name), i)
                    known[cell.formula.sums[name]] += f" + r.sums[{place}]"
        return known

    def _guarded(self, body: Body, i: int, lines: list[str]) -> None:
        """Lines for a cell that has a step k."""
        u, s = 8 * (i // self._products.per), i % self._products.per
        test = f"if k < r.count[{s}]"
        if u and not self._products.whole:
            test += f" and unit + {u} < units"
        if lines:
            body.lines += [f"{test}:", *(f"    {line}" for line in lines)]

    def _place(self, i: int, block: int) -> str:
        u, s = 8 * (i // self._products.per), i % self._products.per
        return f"rows.z[r.at[{s}] + ({u} + {block} * units)]"

    def _read(self, i: int) -> Any:
        body, blocks = self._body(i, {}), {*range(len(self._cell.inputs))}
        if self._products.together:
            blocks |= {*self.kept.values()}
        zs = len(self._cell.order) * i
        self._guarded(body, i, [f"r.zs[{zs + n}] = {self._place(i, n)}" for n in sorted(blocks)])
        body.lines.append("return")
        return body.function(self._PARAMETERS)

    def _call(self, i: int) -> Any:
        """After the product with h, where a sum is called: its operand, and what is kept."""
        cell = self._cell
        body = self._body(i, self._first_sums(i))
        operand = body.name_of(cell.called[0].args[1])
        kept = {n: body.name_of(symbol) for symbol, n in self.kept.items()}
        body.lines.append(f"r.operand[{i}] = {operand}")
        if self._products.together:  # other sequences come between
            self._guarded(body, i, [f"{self._place(i, n)} = {v}" for n, v in kept.items()])
        else:
            body.lines += [f"r.zs[{len(cell.order) * i + n}] = {v}" for n, v in kept.items()]
        return body.function(self._PARAMETERS)

    def _finish(self, i: int) -> Any:
        """After the last product: the states after the step, and what is saved of it."""
        cell, saves = self._cell, self._saves
        known = {} if cell.called else self._first_sums(i)
        for symbol, n in self.kept.items():
            known[symbol] = f"r.zs[{len(cell.order) * i + n}]"
        for call in cell.called:
            place = self._products.sum_at(1, 0, i)
            known[call] = f"{self._before_product(i, call.args[0].args[0])} + r.sums[{place}]"
        body = self._body(i, known)
        new = list(map(body.name_of, cell.formula.new))
        saved = [None if v is None or not saves.gates else body.name_of(v) for v in cell.saved]
        lines = [f"r.states[{n * len(self._range) + i}] = {v}" for n, v in enumerate(new)]
        lines += [f"{self._place(i, n)} = {v}" for n, v in enumerate(saved) if v is not None]
        u, s = 8 * (i // self._products.per), i % self._products.per
        for n, v in enumerate(new):
            if saves.states if n else saves.h:
                row = "to" if n or saves.apart else "at"
                lines.append(f"rows.states[{n}][r.{row}[{s}] + {u}] = {v}")
        self._guarded(body, i, lines)
        return body.function(self._PARAMETERS)


def _first_needed(symbol: Symbol) -> list[Symbol]:
    """What a symbol needs of what is known after the product with h."""
    ops = {s.op for s in walk([symbol])}
    if symbol.op == "sum_of" or "sum" not in ops:
        return []
    if "sum_of" not in ops:
        return [symbol]
    return [s for operand in symbol.operands for s in _first_needed(operand)]


def _made_of(symbol: Symbol, others: list[Symbol]) -> bool:
    """Whether a symbol can be computed from others, states and vectors."""
    if symbol in others or symbol.op in ("state", "vector", "constant"):
        return True
    return symbol.op != "sum" and all(_made_of(operand, others) for operand in symbol.operands)
