"""What a thread does backward besides products: device functions for all its cells.

A cell is one unit of one sequence. A thread has one cell or, on tensor cores, those of two
sequences and of units `unit`, `unit + 8`, ...: cell i is unit `unit + 8 (i // 2)` of the thread's
sequence i % 2. A step runs in the rounds of `cells.rounds`. What they read is in `Thread.values`,
one row per cell, and so are the planes that last between steps and rounds.

The functions are generated as source text, as in `emit`: every index is a constant, so that arrays
stay in registers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ...cells import Cell
from ...cells.rounds import Place, Round, backward_of
from ..runtime.kernel import int32
from .columns import of_h
from .emit import ZERO, Body, Kind, joined
from .loop_products import Products

_H = Place("product")  # in the first round, the gradient of h without the output's part
_DY = Place("dy")  # the gradient of the step's output


class Variant(NamedTuple):
    """What is known of a call when its time loop is compiled."""

    units: int
    has_dy: bool  # outputs have gradients, not only last states
    reverse: bool | None  # of the forward pass, if it is known: on tensor cores


class Call(NamedTuple):
    """The arrays of a time loop."""

    dfirst: Any  # (B, H) of each state
    gates: Any  # (P, width H)
    dy: Any  # (P, H), gradient of the output of each valid step
    steps: Any  # (P, H) of each state
    vectors: Any  # (H) each
    dlast: Any  # (B, H) of each state
    first: Any  # (B, H) of each state


def blocks_of_products(cell: Cell) -> tuple[tuple[int, int], ...]:
    """First block of gradients and number of blocks, for each product of a step.

    There is one product per called sum, in the order of the backward rounds; the last one is for
    all sums that contain h, of which there may be none.
    """
    rounds, names = backward_of(cell).rounds, of_h(cell)
    called = tuple((r.called, 1) for r in rounds if r.called is not None)
    return (*called, (cell.order.index(names[0]) if names else 0, len(names)))


class BackwardCells:
    """Device functions for all cells of a thread.

    Args:
        kind: the cell and its activations.
        dtype: of its numbers.
        products: the products of a step.
        variant: what is known of the call.

    Attributes:
        count: number of rounds.
        read: reads what all rounds need from memory; of (thread, call, k), like all others.
        fetch: reads the vectors of the thread's units; of (thread, call).
        open: loads the gradients of the last states, to start at step k.
        close: stores the gradients of the first states.
        advance: moves the state before a step to the state after the next one.
        add: makes the gradient of h from the last product.
    """

    def __init__(self, kind: Kind, dtype: Any, products: Products, variant: Variant) -> None:
        self._kind, self._real, self._variant, self._put = kind, dtype.type, variant, products.put
        self._plan, self._own, self._per = backward_of(kind.cell), products.own, products.per
        self._together = products.together
        rounds, planes = self._plan.rounds, [Place("plane", n) for n in range(self._plan.planes)]
        used = {place for r in rounds for place in r.loads.values()} | {_H, *planes}
        used |= {Place("before", p.number) for p in used if p.kind == "after"}
        used |= {_DY} if variant.has_dy else set()
        self._slots = {place: n for n, place in enumerate(sorted(used))}
        self.row = len(used)
        self._after = [p for p in self._slots if p.kind == "after"]
        streams = [p for p in self._slots if p.kind in ("block", "before", "dy")]
        cells = range(products.cells)
        self.count = len(rounds)
        # Cleared first, values that are not read ahead need no registers between steps.
        self.read = self._all(self._read(i, streams, clear=not products.ahead) for i in cells)
        self.fetch = self._all(map(self._fetch, cells), ("t", "c"))
        self.open = self._all(map(self._open, cells))
        self.close = self._all(map(self._close, cells))
        self.advance = self._all(map(self._advance, cells))
        self.add = self._all(map(self._add, cells))

    def _all(self, cells: Iterable[list[str]], parameters: Sequence[str] = ("t", "c", "k")) -> Any:
        """Device function of (thread, call, k): some lines for each cell."""
        body = Body(self._kind, self._real, {}, False)
        body.lines += [line for lines in cells for line in lines] or ["pass"]
        return body.function(parameters)

    def _where(self, i: int) -> tuple[int, int, str, str]:
        """A cell's unit and sequence in its thread, and tests that it exists and has a step k."""
        u, s, units = 8 * (i // 2), i % 2, self._variant.units
        inside = f"t.unit + {u} < {units}"
        if units % (8 * self._own) == 0:  # all units of all threads exist
            return u, s, "True", f"k >= 0 and k < t.count[{s}]"
        return u, s, inside, f"k >= 0 and k < t.count[{s}] and {inside}"

    def _value(self, place: Place, i: int) -> str:
        """Where a thread holds a value."""
        return f"t.values[{i * self.row + self._slots[place]}]"

    def _stored(self, place: Place, i: int) -> str:
        """Where memory holds a value of step k."""
        u, s, units, number = 8 * (i // 2), i % 2, self._variant.units, place.number
        if place.kind == "block":
            return f"c.gates[t.at[{s}] + {u + number * units}]"
        if place.kind == "dy":
            return f"c.dy[t.to[{s}] + {u}]"
        if place.kind == "after":
            return f"c.steps[{number}][t.to[{s}] + {u}]"
        assert place.kind == "before"
        return f"c.steps[{number}][t.to[{s}] + ({u} + t.forth * {units})]"

    def _kept(self, place: Place, i: int) -> str:
        """Where the result of a round is kept."""
        return self._stored(place, i) if place.kind == "block" else self._value(place, i)

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

    def round(self, n: int, arrive: Any) -> Any:
        """Device function: computes a round and stores its results.

        It calls `arrive` once what a product needs is written, before it writes the rest.
        """
        cells = [self._round(self._plan.rounds[n], i) for i in range(self._own * self._per)]
        first, last = (Body(self._kind, self._real, {}, False) for _ in range(2))
        first.names |= {f"put{p}": put for p, put in enumerate(self._put)}
        first.names |= {"arrive": arrive, "int32": int32}
        first.lines.append("which = int32(k & 1)")
        if self._together:
            last.lines += [line for _, puts, _ in cells for line in puts]
            last.lines += ["arrive(t)", *(line for _, _, keeps in cells for line in keeps)]
        else:  # which takes fewer registers
            for body, puts, keeps in cells:
                body.lines += puts + keeps
        return joined([first, *(body for body, _, _ in cells), last], ("t", "c", "k"))

    def _round(self, r: Round, i: int) -> tuple[Body, list[str], list[str]]:
        """What a cell computes in a round, what it writes for products, and what it keeps."""
        u, s, inside, live = self._where(i)
        known = {symbol: self._expression(r, place, i) for symbol, place in r.loads.items()}
        body, units = Body(self._kind, self._real, known, False, f"c{i}"), self._variant.units
        found = [(p, ZERO if x is None else body.name_of(x)) for x, p in r.stores]
        puts, products = ["    pass"], list(enumerate(blocks_of_products(self._kind.cell)))
        for place, value in found:
            for product, (first, count) in products:
                if place.kind == "block" and 0 <= place.number - first < count:
                    at = (place.number - first) * units + u
                    puts.append(f"    put{product}(t, which, {at}, {s}, {value})")
        keeps = [f"    {self._kept(place, i)} = {value}" for place, value in found]
        # In a single block a sequence without a step keeps computing: no warp diverges.
        test = live if self._together else inside
        return body, [f"if {test}:", *puts], [f"if {live}:", *keeps]

    def _expression(self, r: Round, place: Place, i: int) -> str:
        """The expression for a value that a round needs."""
        if place == _H and r.called is not None:
            return f"t.sums[{i}]"
        if place == _H and self._variant.has_dy:
            return f"{self._value(place, i)} + {self._value(_DY, i)}"
        return self._value(place, i)

    def _ends(self) -> list[tuple[int, Place]]:
        """Where the gradient of each state is kept between steps."""
        states = range(1, len(self._kind.cell.states))
        return [(0, _H), *((n, Place("plane", self._plan.plane_of(n))) for n in states)]

    def _open(self, i: int) -> list[str]:
        u, s, units = 8 * (i // 2), i % 2, self._variant.units
        lines = [f"if t.count[{s}] >= 0 and t.unit + {u} < {units}:"]
        for state, place in self._ends():
            lines += [f"    {self._kept(place, i)} = c.dlast[{state}][t.state[{s}] + {u}]"]
        for place in self._after:
            lines += [f"    if t.count[{s}] > 0:"]  # then k counts from its last step
            lines += [f"        row = t.row[{s}] - t.forth * (t.count[{s}] - 1 - k)"]
            stored = f"c.steps[{place.number}][row * {units} + (t.unit + {u})]"
            lines += [f"        {self._value(place, i)} = {stored}"]
        return lines

    def _close(self, i: int) -> list[str]:
        u, s, units = 8 * (i // 2), i % 2, self._variant.units
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
