"""What a thread does forward besides products: device functions for all its cells.

Cells of a thread are numbered as `loop_products` says. What it knows of them is in registers, in
arrays whose every index is a constant, see `loop_groups.Thread`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from ...cells import Cell
from ...formula import Symbol, walk
from .columns import of_h
from .emit import ZERO, Body, Kind, joined
from .loop_products import Products


class Saves(NamedTuple):
    """What a time loop leaves at each step, known when it is compiled."""

    h: bool
    states: bool  # other than h
    gates: bool
    separate: bool  # rows of h are H numbers long, and not those of z


class Own(NamedTuple):
    """The arrays of a thread that are of this direction, see `loop_groups.Thread`."""

    zs: Any  # [cell][sum], a row of z; between two rounds, what the second needs of the first
    states: Any  # [state][cell]
    operand: Any  # [cell], what a sum is called on
    given: Any  # [number][unit], biases of sums that x has no part in, then vectors


class Call(NamedTuple):
    """The arguments of a time loop."""

    z: Any
    steps: Any  # of each state, after each step
    weights: Any
    weights_start: Any
    bias: Any
    bias_start: Any  # of the sums that x has no part in
    offsets: Any
    order: Any
    first: Any  # of each state, before the first step
    last: Any  # of each state, after the last one
    counter: Any  # of groups that were taken, or of blocks that met
    exchanged: Any  # what blocks of a grid tell each other
    batch: Any
    groups: Any  # of sequences
    units: Any
    width: Any  # of a row of z
    reverse: Any
    forth: Any  # from a step's row to the next one's: 1 or -1


class Cells:
    """Device functions of (thread, call, k) for all cells of a thread, if not said otherwise.

    Args:
        kind: the cell.
        real: type of its numbers.
        products: what the thread multiplies.
        saves: what is left at each step.
        units: H, if it is known when compiling, else 0.

    Raises:
        ValueError: the cell needs what the kernels do not have.
    """

    def __init__(self, kind: Kind, real: Any, products: Products, saves: Saves, units: int) -> None:
        self._whole = units > 0 and units % (8 * products.own) == 0
        self._kind, self._real, self._products, self._saves = kind, real, products, saves
        self._cell: Cell = kind.cell
        self._range = range(products.own * products.per)

    @property
    def zs_size(self) -> int:
        """Numbers of all cells' rows of z."""
        return len(self._cell.order) * len(self._range)

    @property
    def given_size(self) -> int:
        """Numbers of a thread's units that do not change."""
        cell = self._cell
        return (len(cell.order) - len(cell.inputs) + len(cell.vectors)) * self._products.own

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
        """Rows of z, where there is a step k; in a grid, also what waits there between rounds."""
        return self._all(self._read)

    @cached_property
    def rounds(self) -> list[Any]:
        """What follows each product: before the last one, what the called sum needs of it."""
        make = (self._call, self._finish) if self._cell.called else (self._finish,)
        return list(map(self._all, make))

    def put(self, product: int) -> Any:
        """What a product multiplies, of (thread, call, groups, index, k)."""
        body = Body(self._kind, self._real, {}, False)
        body.names["put"] = self._products.put[product]
        for i in self._range:
            u, s = 8 * (i // self._products.per), i % self._products.per
            value = f"t.own.operand[{i}]" if product else f"t.own.states[{i}]"
            line = f"put(t, c, groups, index, {u}, {s}, {value})"
            test = f"if k < t.count[{s}]: " if self._products.together else ""
            body.lines.append(test + line)
        return body.function(("t", "c", "groups", "index", "k"))

    @property
    def fetch(self) -> Any:
        """Biases and vectors of the thread's units, of (thread, call)."""
        own, body = self._products.own, Body(self._kind, self._real, {}, False)
        for n in range(self.given_size):
            u = n % own * 8
            place = f"c.bias_start + {n // own} * c.units + t.unit + {u}"
            body.lines.append(f"t.own.given[{n}] = {ZERO}")
            body.lines.append(f"if t.unit + {u} < c.units: t.own.given[{n}] = c.bias[{place}]")
        return body.function(("t", "c"))

    @property
    def take(self) -> Any:
        """States of the thread's sequences from an array of each, of (thread, call, arrays)."""
        body = Body(self._kind, self._real, {}, False)
        for value, array, s, u in self._in_arrays():
            body.lines.append(f"{value} = {ZERO}")
            body.lines.append(
                f"if t.count[{s}] >= 0 and t.unit + {u} < c.units: {value} = arrays{array}"
            )
        return body.function(("t", "c", "arrays"))

    @property
    def give(self) -> Any:
        """States to `last`, of sequences that have a step k."""
        body = Body(self._kind, self._real, {}, False)
        for value, array, s, u in self._in_arrays():
            body.lines.append(
                f"if k < t.count[{s}] and t.unit + {u} < c.units: c.last{array} = {value}"
            )
        return body.function(self._PARAMETERS)

    def _in_arrays(self) -> Iterator[tuple[str, str, int, int]]:
        """Where each state of each cell is, and in arrays of them, with its sequence and unit."""
        for n in range(len(self._cell.states)):
            for i in self._range:
                u, s = 8 * (i // self._products.per), i % self._products.per
                value = f"t.own.states[{n * len(self._range) + i}]"
                yield value, f"[{n}][t.state[{s}] + {u}]", s, u

    def _all(self, make: Callable[[int], Body]) -> Any:
        """Device function of some lines for each cell."""
        return joined([make(i) for i in self._range], self._PARAMETERS)

    _PARAMETERS = ("t", "c", "k")

    def _body(self, i: int, known: dict[Symbol, str]) -> Body:
        cell, products = self._cell, self._products
        own, u = products.own, i // products.per
        for n, vector in enumerate(cell.formula.vectors.values()):
            known[vector] = f"t.own.given[{(len(cell.formula.h_only) + n) * own + u}]"
        for n, state in enumerate(cell.formula.states.values()):
            known[state] = f"t.own.states[{n * len(self._range) + i}]"
        return Body(self._kind, self._real, known, products.fast, f"c{i}")

    def _before_product(self, i: int, name: str) -> str:
        """A sum without its part of h."""
        number, inputs = self._cell.order.index(name), len(self._cell.inputs)
        if number < inputs:
            return f"t.own.zs[{len(self._cell.order) * i + number}]"
        return f"t.own.given[{(number - inputs) * self._products.own + i // self._products.per}]"

    def _first_sums(self, i: int) -> dict[Symbol, str]:
        """All sums that are known after the product with h."""
        cell, columns = self._cell, of_h(self._cell)
        known = {}
        for name in cell.order:
            if name not in cell.formula.second:
                known[cell.formula.sums[name]] = self._before_product(i, name)
                if name in columns:
                    place = self._products.sum_at(len(columns), columns.index(name), i)
                    known[cell.formula.sums[name]] += f" + t.sums[{place}]"
        return known

    def _guarded(self, body: Body, i: int, lines: list[str]) -> None:
        """Lines for a cell that has a step k."""
        u, s = 8 * (i // self._products.per), i % self._products.per
        test = f"if k < t.count[{s}]"
        if u and not self._whole:
            test += f" and t.unit + {u} < c.units"
        if lines:
            body.lines += [f"{test}:", *(f"    {line}" for line in lines)]

    def _place(self, i: int, block: int) -> str:
        u, s = 8 * (i // self._products.per), i % self._products.per
        return f"c.z[t.at[{s}] + ({u} + {block} * c.units)]"

    def _read(self, i: int) -> Body:
        body, blocks = self._body(i, {}), {*range(len(self._cell.inputs))}
        if self._products.together:
            blocks |= {*self.kept.values()}
        zs = len(self._cell.order) * i
        self._guarded(
            body, i, [f"t.own.zs[{zs + n}] = {self._place(i, n)}" for n in sorted(blocks)]
        )
        return body

    def _call(self, i: int) -> Body:
        """After the product with h, where a sum is called: its operand, and what is kept."""
        cell = self._cell
        body = self._body(i, self._first_sums(i))
        operand = body.name_of(cell.called[0].args[1])
        kept = {n: body.name_of(symbol) for symbol, n in self.kept.items()}
        body.lines.append(f"t.own.operand[{i}] = {operand}")
        if self._products.together:  # other sequences come between
            self._guarded(body, i, [f"{self._place(i, n)} = {v}" for n, v in kept.items()])
        else:
            body.lines += [f"t.own.zs[{len(cell.order) * i + n}] = {v}" for n, v in kept.items()]
        return body

    def _finish(self, i: int) -> Body:
        """After the last product: the states after the step, and what is saved of it."""
        cell, saves = self._cell, self._saves
        known = {} if cell.called else self._first_sums(i)
        for symbol, n in self.kept.items():
            known[symbol] = f"t.own.zs[{len(cell.order) * i + n}]"
        for call in cell.called:
            place = self._products.sum_at(1, 0, i)
            known[call] = f"{self._before_product(i, call.args[0].args[0])} + t.sums[{place}]"
        body = self._body(i, known)
        new = list(map(body.name_of, cell.formula.new))
        saved = [None if v is None or not saves.gates else body.name_of(v) for v in cell.saved]
        lines = [f"t.own.states[{n * len(self._range) + i}] = {v}" for n, v in enumerate(new)]
        lines += [f"{self._place(i, n)} = {v}" for n, v in enumerate(saved) if v is not None]
        u, s = 8 * (i // self._products.per), i % self._products.per
        for n, v in enumerate(new):
            if saves.states if n else saves.h:
                row = "to" if n or saves.separate else "at"
                lines.append(f"c.steps[{n}][t.{row}[{s}] + {u}] = {v}")
        self._guarded(body, i, lines)
        return body


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
