"""What a thread does forward besides products: device functions for all its cells.

`loop_products` says how the cells of a thread are numbered. Their values are in registers, in
arrays with constant indices, see `loop_groups.Thread`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

from ...cells import Cell
from ...formula import Symbol, walk
from ..runtime.kernel import int32
from .columns import of_h
from .emit import ZERO, Body, Kind, joined
from .loop_products import Products


class Saves(NamedTuple):
    """What a time loop saves at each step, known when it is compiled."""

    h: bool
    states: bool  # other than h
    gates: bool
    separate: bool  # h has rows of its own, of H numbers, and is not stored in those of z


class Call(NamedTuple):
    """The arrays of a time loop."""

    z: Any
    steps: Any  # of each state, after each step
    bias: Any
    bias_start: Any  # where the biases of sums without x begin
    first: Any  # of each state, before the first step
    last: Any  # of each state, after the last one


class Cells:
    """Device functions of (thread, call, k) for all cells of a thread, unless said otherwise.

    Args:
        kind: the cell.
        real: type of its numbers.
        products: what the thread multiplies.
        saves: what is saved at each step.
        units: H, if it is known when compiling, else 0.

    Raises:
        ValueError: the cell needs an operation that the kernels lack.
    """

    def __init__(self, kind: Kind, real: Any, products: Products, saves: Saves, units: int) -> None:
        self._whole = units > 0 and units % (8 * products.own) == 0
        self._kind, self._real, self._products, self._saves = kind, real, products, saves
        self._cell: Cell = kind.cell
        self._range = range(products.own * products.per)

    @property
    def zs_size(self) -> int:
        """Numbers in the rows of z of all cells."""
        return len(self._cell.order) * len(self._range)

    @property
    def given_size(self) -> int:
        """Constant numbers of a thread's units: biases and vectors."""
        cell = self._cell
        return (len(cell.order) - len(cell.inputs) + len(cell.vectors)) * self._products.own

    @cached_property
    def kept(self) -> dict[Symbol, int]:
        """What the second round needs from the first, and the block of z that holds it."""
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
        """Reads rows of z, if there is a step k."""
        return joined([self._read(i) for i in self._range], self._PARAMETERS)

    def round(self, product: int, arrive: Any) -> Any:
        """What follows a product; it calls `arrive` once the next product's vectors are written.

        In a grid the step's results are saved only after that.
        """
        is_last = product == len(self._cell.called)
        cells = [(self._finish if is_last else self._call)(i) for i in self._range]
        after, put = self._body(0, {}), self._put(0 if is_last else product + 1)
        put.names["arrive"] = arrive
        put.lines.append("arrive(t)")
        after.lines += [line for _, lines in cells for line in lines]
        rest = (put, after) if self._products.together else (after,)
        return joined([*(body for body, _ in cells), *rest], self._PARAMETERS)

    def put(self, product: int) -> Any:
        """Writes the vectors that a product multiplies after step k."""
        return joined([self._put(product)], self._PARAMETERS)

    def _put(self, product: int) -> Body:
        body = Body(self._kind, self._real, {}, False)
        body.names |= {"put": self._products.put[product], "int32": int32}
        body.lines.append("which = int32(0)" if product else "which = int32(1 - (k & 1))")
        for i in self._range:
            u, s = 8 * (i // self._products.per), i % self._products.per
            value = f"t.operand[{i}]" if product else f"t.now[{i}]"
            test = f"if k < t.count[{s}]: " if self._products.together else ""
            body.lines.append(f"{test}put(t, which, {u}, {s}, {value})")
        return body

    @property
    def fetch(self) -> Any:
        """Loads biases and vectors of the thread's units; of (thread, call)."""
        own, body = self._products.own, Body(self._kind, self._real, {}, False)
        for n in range(self.given_size):
            u = n % own * 8
            place = f"c.bias_start + {n // own} * t.units + t.unit + {u}"
            body.lines.append(f"t.given[{n}] = {ZERO}")
            body.lines.append(f"if t.unit + {u} < t.units: t.given[{n}] = c.bias[{place}]")
        return body.function(("t", "c"))

    @property
    def take(self) -> Any:
        """Loads the states of the thread's sequences from `arrays`; of (thread, call, arrays)."""
        body = Body(self._kind, self._real, {}, False)
        for value, array, s, u in self._in_arrays():
            body.lines.append(f"{value} = {ZERO}")
            body.lines.append(
                f"if t.count[{s}] >= 0 and t.unit + {u} < t.units: {value} = arrays{array}"
            )
        return body.function(("t", "c", "arrays"))

    @property
    def give(self) -> Any:
        """Stores the states to `last`; of (thread, call)."""
        body = Body(self._kind, self._real, {}, False)
        for value, array, s, u in self._in_arrays():
            body.lines.append(
                f"if t.count[{s}] >= 0 and t.unit + {u} < t.units: c.last{array} = {value}"
            )
        return body.function(("t", "c"))

    def _in_arrays(self) -> Iterator[tuple[str, str, int, int]]:
        """Each state of each cell: its variable, its array element, its sequence and unit."""
        for n in range(len(self._cell.states)):
            for i in self._range:
                u, s = 8 * (i // self._products.per), i % self._products.per
                value = f"t.now[{n * len(self._range) + i}]"
                yield value, f"[{n}][t.state[{s}] + {u}]", s, u

    _PARAMETERS = ("t", "c", "k")

    def _body(self, i: int, known: dict[Symbol, str]) -> Body:
        cell, products = self._cell, self._products
        own, u = products.own, i // products.per
        for n, vector in enumerate(cell.formula.vectors.values()):
            known[vector] = f"t.given[{(len(cell.formula.h_only) + n) * own + u}]"
        for n, state in enumerate(cell.formula.states.values()):
            known[state] = f"t.now[{n * len(self._range) + i}]"
        return Body(self._kind, self._real, known, products.fast, f"c{i}")

    def _before_product(self, i: int, name: str) -> str:
        """A sum before its product is added."""
        number, inputs = self._cell.order.index(name), len(self._cell.inputs)
        if number < inputs:
            return f"t.values[{len(self._cell.order) * i + number}]"
        return f"t.given[{(number - inputs) * self._products.own + i // self._products.per}]"

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

    def _guarded(self, i: int, lines: list[str]) -> list[str]:
        """The lines, run only if the cell has a step k."""
        u, s = 8 * (i // self._products.per), i % self._products.per
        test = f"if k < t.count[{s}]"
        if u and not self._whole:
            test += f" and t.unit + {u} < t.units"
        return [f"{test}:", *(f"    {line}" for line in lines)] if lines else []

    def _place(self, i: int, block: int) -> str:
        u, s = 8 * (i // self._products.per), i % self._products.per
        return f"c.z[t.at[{s}] + ({u} + {block} * t.units)]"

    def _read(self, i: int) -> Body:
        body, zs = self._body(i, {}), len(self._cell.order) * i
        places = [self._place(i, n) for n in range(len(self._cell.inputs))]
        lines = [f"t.values[{zs + n}] = {place}" for n, place in enumerate(places)]
        body.lines += self._guarded(i, lines)
        return body

    def _call(self, i: int) -> tuple[Body, list[str]]:
        """After the product with h, if a sum is called: its operand, and what is kept."""
        cell = self._cell
        body = self._body(i, self._first_sums(i))
        operand = body.name_of(cell.called[0].args[1])
        kept = {n: body.name_of(symbol) for symbol, n in self.kept.items()}
        body.lines.append(f"t.operand[{i}] = {operand}")
        body.lines += [f"t.values[{len(cell.order) * i + n}] = {v}" for n, v in kept.items()]
        return body, []

    def _finish(self, i: int) -> tuple[Body, list[str]]:
        """After the last product: the states after the step, and what is saved of it."""
        cell, saves = self._cell, self._saves
        known = {} if cell.called else self._first_sums(i)
        for symbol, n in self.kept.items():
            known[symbol] = f"t.values[{len(cell.order) * i + n}]"
        for call in cell.called:
            place = self._products.sum_at(1, 0, i)
            known[call] = f"{self._before_product(i, call.args[0].args[0])} + t.sums[{place}]"
        body = self._body(i, known)
        new = list(map(body.name_of, cell.formula.new))
        saved = [None if v is None or not saves.gates else body.name_of(v) for v in cell.saved]
        states = [f"t.now[{n * len(self._range) + i}] = {v}" for n, v in enumerate(new)]
        lines = [f"{self._place(i, n)} = {v}" for n, v in enumerate(saved) if v is not None]
        u, s = 8 * (i // self._products.per), i % self._products.per
        for n, v in enumerate(new):
            if saves.states if n else saves.h:
                row = "to" if n or saves.separate else "at"
                lines.append(f"c.steps[{n}][t.{row}[{s}] + {u}] = {v}")
        together = self._products.together
        body.lines += self._guarded(i, states if together else states + lines)
        return body, self._guarded(i, lines) if together else []


def _first_needed(symbol: Symbol) -> list[Symbol]:
    """The parts of a symbol that are known after the product with h."""
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
