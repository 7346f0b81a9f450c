"""What a thread does backward besides products: device functions for all its cells.

A cell is a unit of a sequence. A thread has one, or where tensor cores multiply those of two
sequences and of units `unit`, `unit + 8`, ...: cell i is unit `unit + 8 (i // 2)` of the thread's
sequence i % 2. A step is done in the rounds of `cells.rounds`. What they read stands in
`Own.values`, a row for each cell; what stays in planes between steps and rounds is there too,
or where all blocks of a grid run all sequences, in global memory.

The functions are made as text, as those of `emit`: every index is a constant, so that arrays stay
in registers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...cells import Cell
from ...cells.rounds import Place, Round, backward_of
from ..ops import in_turn
from .columns import of_h
from .emit import ZERO, Body, Kind
from .loop_products import Products

_H = Place("product")  # in the first round the gradient of h, without
_DY = Place("dy")  # that of the step's output


class Variant(NamedTuple):
    """What of a call is known when its time loop is compiled."""

    units: int
    has_dy: bool  # outputs have gradients, not only last states
    reverse: bool  # of the forward pass; where registers are short that is told when it runs
    together: bool  # all blocks of a grid run all sequences


class Own(NamedTuple):
    """The arrays of a thread that are of this direction, see `loop_groups.Thread`."""

    values: Any  # [cell][place]
    met: Any  # how often blocks had to meet


class Call(NamedTuple):
    """The arguments of a time loop."""

    dfirst: Any  # (B, H) of each state
    gates: Any  # (P, width H)
    dy: Any  # (P, H), gradient of the output of each valid step
    steps: Any  # (P, H) of each state
    weights: Any
    weights_start: Any
    vectors: Any  # (H) each
    offsets: Any
    order: Any
    dlast: Any  # (B, H) of each state
    first: Any  # (B, H) of each state
    planes: Any  # (B, H) for each plane besides those of states, of a grid
    counter: Any  # of groups that were taken, or of blocks that met
    exchanged: Any  # what blocks of a grid tell each other
    batch: Any
    groups: Any  # of sequences
    units: Any
    width: Any  # of a row of gates
    reverse: Any
    forth: Any  # from a row to that of the next step backward


def blocks_of_products(cell: Cell) -> tuple[tuple[int, int], ...]:
    """First block of gradients and number of blocks that a step's products are made of.

    One product for each called sum, in the order of the rounds backward; the last one is that
    with all sums that h has a part in, which may be none.
    """
    rounds, names = backward_of(cell).rounds, of_h(cell)
    called = tuple((r.called, 1) for r in rounds if r.called is not None)
    return (*called, (cell.order.index(names[0]) if names else 0, len(names)))


def extra_planes(cell: Cell) -> int:
    """How many planes there are besides those for the gradients of the states."""
    plan = backward_of(cell)
    return plan.planes + (not plan.carries_h) - len(cell.states)


class BackwardCells:
    """Device functions for all cells of a thread.

    Args:
        kind: of the cell.
        dtype: of its numbers.
        products: of a step.
        variant: of the loop.

    Attributes:
        rounds: of (thread, call, groups, index, k): what a round computes, and where that goes.
        loads: of (thread, call, k): what a round reads of memory.
        read: the same of all rounds, where the thread keeps planes and states.
        fetch: reads the vectors of the thread's units.
        open: gradients of the last states become those on the way, from step k,
        close: and these those of the first states.
        advance: the state before a step is that after the next one.
        add: the last product's part of the gradient of h.
    """

    def __init__(self, kind: Kind, dtype: Any, products: Products, variant: Variant) -> None:
        self._kind, self._real, self._variant, self._put = kind, dtype.type, variant, products.put
        self._plan, self._own = backward_of(kind.cell), products.own
        rounds, planes = self._plan.rounds, [Place("plane", n) for n in range(self._plan.planes)]
        used = {place for r in rounds for place in r.loads.values()} | {_H, *planes}
        used |= {Place("before", p.number) for p in used if p.kind == "after"}
        used |= {_DY} if variant.has_dy else set()
        self._slots = {place: n for n, place in enumerate(sorted(used))}
        self.row = len(used)
        self._after = [p for p in self._slots if p.kind == "after" and not variant.together]
        streams = [p for p in self._slots if p.kind in ("block", "before", "dy")]
        cells = range(products.cells)
        self.rounds = [in_turn([self._round(r, i) for i in cells]) for r in rounds]
        self.loads = [self._all(self._read(i, self._loads_of(r)) for i in cells) for r in rounds]
        # What is not read ahead needs no registers from one step to the next.
        self.read = self._all(self._read(i, streams, clear=not products.ahead) for i in cells)
        self.fetch = self._all(map(self._fetch, cells))
        self.open = self._all(map(self._open, cells))
        self.close = self._all(map(self._close, cells))
        self.advance = self._all(map(self._advance, cells))
        self.add = self._all(map(self._add, cells))

    def _all(self, cells: Iterable[list[str]]) -> Any:
        """Device function of (thread, call, k): some lines for each cell."""
        body = Body(self._kind, self._real, {}, False)
        body.lines += [line for lines in cells for line in lines] or ["pass"]
        return body.function(("t", "c", "k"))

    def _where(self, i: int) -> tuple[int, int, str, str]:
        """Number of a cell's unit and sequence in its thread; when they are there, and a step k."""
        u, s, units = 8 * (i // 2), i % 2, self._variant.units
        inside = f"t.unit + {u} < {units}"
        if units % (8 * self._own) == 0:  # no thread has units to spare
            return u, s, "True", f"k >= 0 and k < t.count[{s}]"
        return u, s, inside, f"k >= 0 and k < t.count[{s}] and {inside}"

    def _value(self, place: Place, i: int) -> str:
        """Where a thread has a value."""
        return f"t.own.values[{i * self.row + self._slots[place]}]"

    def _stored(self, place: Place, i: int) -> str:
        """Where memory has a value of step k."""
        u, s, units, number = 8 * (i // 2), i % 2, self._variant.units, place.number
        if place.kind == "block":
            return f"c.gates[t.at[{s}] + {u + number * units}]"
        if place.kind == "dy":
            return f"c.dy[t.to[{s}] + {u}]"
        if place.kind == "after":
            return f"c.steps[{number}][t.to[{s}] + {u}]"
        if place.kind == "before":
            return f"c.steps[{number}][t.to[{s}] + ({u} + c.forth * {units})]"
        state = 0 if place == _H else number + (not self._plan.carries_h)
        if (extra := state - len(self._kind.cell.states)) < 0:
            return f"c.dfirst[{state}][t.state[{s}] + {u}]"
        return f"c.planes[{extra * units} * c.batch + t.state[{s}] + {u}]"

    def _kept(self, place: Place, i: int) -> str:
        """Where a value stays that a round found."""
        own = place.kind != "block" and not self._variant.together
        return self._value(place, i) if own else self._stored(place, i)

    def _loads_of(self, r: Round) -> list[Place]:
        own = [p for p in r.loads.values() if p.kind != "vector" and (p != _H or r.called is None)]
        return [*own, _DY] if _H in own and self._variant.has_dy else own

    def _read(self, i: int, places: list[Place], clear: bool = False) -> list[str]:
        u, s, _, live = self._where(i)
        lines = [f"{self._value(place, i)} = {ZERO}" for place in places if clear]
        lines += [f"if {live}:", "    pass"]
        for place in places:
            value, stored = self._value(place, i), self._stored(place, i)
            if place.kind == "before":
                lines += ["    if k == 0:"]
                lines += [f"        {value} = c.first[{place.number}][t.state[{s}] + {u}]"]
                lines += ["    else:", f"        {value} = {stored}"]
            else:
                lines += [f"    {value} = {stored}"]
        return lines

    def _fetch(self, i: int) -> list[str]:
        u, _, inside, _ = self._where(i)
        vectors = [place for place in self._slots if place.kind == "vector"]
        inside = f"t.unit + {u} < {self._variant.units}"
        return [f"if {inside}:", "    pass"] + [
            f"    {self._value(place, i)} = c.vectors[{place.number}][t.unit + {u}]"
            for place in vectors
        ]

    def _round(self, r: Round, i: int) -> Any:
        """Device function: compute a round of a cell, and leave the results where they belong."""
        u, s, inside, live = self._where(i)
        known = {symbol: self._expression(r, place, i) for symbol, place in r.loads.items()}
        body, units = Body(self._kind, self._real, known, False), self._variant.units
        found = [(p, ZERO if x is None else body.name_of(x)) for x, p in r.stores]
        puts, products = ["    pass"], list(enumerate(blocks_of_products(self._kind.cell)))
        for place, value in found:
            for product, (first, count) in products:
                if place.kind == "block" and 0 <= place.number - first < count:
                    body.names[f"put{product}"] = self._put[product]
                    at = (place.number - first) * units + u
                    puts.append(f"    put{product}(t, c, groups, index, {at}, {s}, {value})")
        keeps = [f"    {self._kept(place, i)} = {value}" for place, value in found]
        if self._variant.together:
            lines = [f"    {line}" for line in body.lines]
            body.lines[:] = [f"if {live}:", *lines, *puts, *keeps]
        else:  # no branch parts a warp: a sequence without a step computes on
            body.lines += [f"if {inside}:", *puts, f"if {live}:", *keeps]
        return body.function(("t", "c", "groups", "index", "k"))

    def _expression(self, r: Round, place: Place, i: int) -> str:
        """A value that a round needs."""
        if place == _H and r.called is not None:
            return f"t.sums[{i}]"
        if place == _H and self._variant.has_dy:
            return f"{self._value(place, i)} + {self._value(_DY, i)}"
        return self._value(place, i)

    def _ends(self) -> list[tuple[int, Place]]:
        """Where the gradient of each state stands between steps."""
        states = range(1, len(self._kind.cell.states))
        return [(0, _H), *((n, Place("plane", self._plan.plane_of(n))) for n in states)]

    def _open(self, i: int) -> list[str]:
        u, s, units = 8 * (i // 2), i % 2, self._variant.units
        lines = [f"if t.count[{s}] >= 0 and t.unit + {u} < {units}:"]
        for state, place in self._ends():
            lines += [f"    {self._kept(place, i)} = c.dlast[{state}][t.state[{s}] + {u}]"]
        for place in self._after:
            lines += [f"    if t.count[{s}] > 0:"]  # then k counts from its last step
            lines += [f"        row = t.row[{s}] - c.forth * (t.count[{s}] - 1 - k)"]
            stored = f"c.steps[{place.number}][row * {units} + (t.unit + {u})]"
            lines += [f"        {self._value(place, i)} = {stored}"]
        return lines

    def _close(self, i: int) -> list[str]:
        u, s, units = 8 * (i // 2), i % 2, self._variant.units
        if self._variant.together:
            return []
        return [f"if t.count[{s}] >= 0 and t.unit + {u} < {units}:"] + [
            f"    c.dfirst[{state}][t.state[{s}] + {u}] = {self._value(place, i)}"
            for state, place in self._ends()
        ]

    def _advance(self, i: int) -> list[str]:
        lines = [f"if k < t.count[{i % 2}]:", "    pass"]
        for place in self._after:
            before = self._value(place._replace(kind="before"), i)
            lines += [f"    {self._value(place, i)} = {before}"]
        return lines

    def _add(self, i: int) -> list[str]:
        _, _, _, live = self._where(i)
        direct = f" + {self._kept(Place('plane'), i)}" if self._plan.carries_h else ""
        return [f"if {live}:", f"    {self._kept(_H, i)} = t.sums[{i}]{direct}"]
