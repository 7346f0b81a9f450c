"""The rounds of a step's gradients: what can be computed when.

Most cells have one round a step. Another one begins where a gradient must be known for all units
of a row first: after the product that leads from the gradient of a called sum to the value that it
was called on, and after the means in the gradient of `normalize`.

A round loads vectors, computes, and stores. Between rounds, and between steps, values are kept in
planes, which hold one number for each unit of a row.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import NamedTuple

from ..formula import Symbol
from .cell import Cell


class Place(NamedTuple):
    """Where a value is.

    Kinds, and what `number` means:
        "block"    a block of H columns of `gates`, or of z, by number
        "plane"    a plane, by number
        "vector"   a vector of the cell, by number
    Forward:
        "old"      h before the step
        "new"      h after the step
        "moments"  mean and sums of squares, in a plane, by number
    Backward:
        "product"  the result of the round's product; in the first round the whole gradient of h
        "total"    a plane, by number, that is read as the sum over all units of the row: the
                   padding of its last register must be 0
        "before"   a state before the step, by number
        "after"    a state after the step, by number
    """

    kind: str
    number: int = 0


class Round(NamedTuple):
    """A part of a step.

    Attributes:
        called: the sum whose gradient is multiplied with U^T at the beginning of the round, by
            its number in the order of z; None for no product. The first round begins with the
            product of the following step.
        loads: what is read, and where. A mean is made from its total, see `total_of`.
        computed: what is computed, operands first.
        stores: what is written in the end, and where; None for zeros.
    """

    called: int | None
    loads: dict[Symbol, Place]
    computed: tuple[Symbol, ...]
    stores: tuple[tuple[Symbol | None, Place], ...]


class Backward(NamedTuple):
    """The gradients of a step.

    Attributes:
        rounds: the parts of a step.
        planes: how many planes there are. The first ones hold the gradients of states between
            steps: that of h, except its part through products, if there is any; then those of the
            other states.
        carries_h: whether there is a plane for h.
    """

    rounds: tuple[Round, ...]
    planes: int
    carries_h: bool

    def plane_of(self, state: int) -> int:
        """The plane that holds the gradient of a state, by its number."""
        return state if self.carries_h else state - 1


def backward_of(cell: Cell) -> Backward:
    """The rounds of a cell's gradients."""
    return _Planner(cell).plan()


def total_of(mean: Symbol) -> Symbol:
    """What a mean averages over the units: the sum of the values that have it in common."""
    means, which = mean.args
    total: Symbol = reduce(add, means.operands[which::2])
    return total


class _Planner:
    """Assigns the symbols of a cell's gradients to rounds."""

    def __init__(self, cell: Cell) -> None:
        formula = cell.formula
        self._cell, self._gradients = cell, cell.gradients
        self._carries_h = self._gradients.states[cell.states[0]] is not None
        self._sources = {s: Place("block", n) for n, s in enumerate(cell.saved) if s is not None}
        for kind, symbols in (
            ("vector", formula.vectors.values()),
            ("after", formula.new),
            ("before", formula.states.values()),
        ):
            self._sources |= {s: Place(kind, n) for n, s in enumerate(symbols)}
        self._rounds: dict[Symbol, int] = {}
        self._called: dict[int, str] = {}  # by round, the sum whose product it begins with
        self._last_read: dict[Symbol, int] = {}  # by symbol kept in a plane, the round
        self._totals: set[Symbol] = set()
        self._blocks = [
            (self._gradients.sums[name], Place("block", n)) for n, name in enumerate(cell.order)
        ] + [
            (self._gradients.vectors[name], Place("block", len(cell.saved) + n))
            for n, name in enumerate(cell.vectors)
        ]

    def plan(self) -> Backward:
        """The rounds."""
        states = list(self._gradients.states.values())[0 if self._carries_h else 1 :]
        roots = [*(symbol for symbol, _ in self._blocks), *(s for s in states if s is not None)]
        count = 1 + max(map(self._round_of, roots))
        self._overwritten = {place.number: self._round_of(s) for s, place in self._blocks}
        found = [self._find_needed(number, roots) for number in reversed(range(count))][::-1]
        stores: list[list[tuple[Symbol | None, Place]]] = [[] for _ in found]
        for symbol, place in self._blocks:
            stores[self._round_of(symbol)].append((symbol, place))
        planes = _Planes()
        for gradient in states:  # None where nothing reads the state: zeros
            written = count - 1 if gradient is None else self._round_of(gradient)
            stores[written].append((gradient, Place("plane", planes.take(written, count))))
        kept: dict[Symbol, Place] = {}
        for symbol, last in self._last_read.items():
            written, is_total = self._round_of(symbol), symbol in self._totals
            plane = planes.take(written, last + is_total)  # other units read totals as well
            kept[symbol] = Place("total" if is_total else "plane", plane)
            stores[written].append((symbol, kept[symbol]))
        rounds = []
        for number, (loads, computed) in enumerate(found):
            places = {s: place or self._kept_place(s, kept, number) for s, place in loads.items()}
            called = self._called.get(number)
            rounds.append(
                Round(
                    None if called is None else self._cell.order.index(called),
                    places,
                    tuple(computed),
                    tuple(stores[number]),
                )
            )
        return Backward(tuple(rounds), len(planes), self._carries_h)

    def _kept_place(self, symbol: Symbol, kept: dict[Symbol, Place], number: int) -> Place:
        """Where a round finds what an earlier one left."""
        if symbol.op == "mean" and self._round_of(symbol) == number:
            return kept[total_of(symbol)]
        return Place("plane", kept[symbol].number)

    def _round_of(self, symbol: Symbol) -> int:
        """The first round in which a symbol is known."""
        if symbol not in self._rounds:
            self._rounds[symbol] = self._find_round(symbol)
        return self._rounds[symbol]

    def _find_round(self, symbol: Symbol) -> int:
        if symbol in self._sources:
            return 0
        if symbol.op == "returned":
            name = symbol.args[0]
            number = self._round_of(self._gradients.sums[name]) + 1
            while number in self._called:  # one product a round
                number += 1
            self._called[number] = name
            return number
        if symbol.op == "mean":
            return self._round_of(total_of(symbol)) + 1
        return max(map(self._round_of, symbol.operands), default=0)

    def _find_needed(
        self, number: int, roots: list[Symbol]
    ) -> tuple[dict[Symbol, Place | None], list[Symbol]]:
        """What a round loads, with None as the place of kept values, and what it computes.

        Call it for the last round first: it notes what earlier rounds have to keep.
        """
        loads: dict[Symbol, Place | None] = {}
        computed: dict[Symbol, None] = {}

        def need(symbol: Symbol) -> None:
            if symbol in loads or symbol in computed:
                return
            place = self._place(symbol, number)
            if place is not None:
                loads[symbol] = place
            elif symbol.op == "mean" and self._round_of(symbol) == number:
                loads[symbol] = None
                self._totals.add(total_of(symbol))
                self._last_read.setdefault(total_of(symbol), number)
            elif self._round_of(symbol) == number or self._is_there(symbol, number):
                for operand in symbol.operands:
                    need(operand)
                computed[symbol] = None
            else:
                loads[symbol] = None
                self._last_read.setdefault(symbol, number)

        for symbol in [*roots, *self._last_read]:
            if self._round_of(symbol) == number:
                need(symbol)
        return loads, list(computed)

    def _place(self, symbol: Symbol, number: int) -> Place | None:
        """Where a round finds a symbol that no round has computed; None if nowhere."""
        place = self._sources.get(symbol)
        if place is not None:
            # Until the gradient of a sum takes its place.
            there = place.kind != "block" or number <= self._overwritten.get(place.number, number)
            return place if there else None
        if symbol.op == "returned" and self._round_of(symbol) == number:
            return Place("product")
        if symbol.op == "gradient" and number == 0:
            state = self._cell.states.index(symbol.args[0])
            return Place("plane", state - (not self._carries_h)) if state else Place("product")
        return None

    def _is_there(self, symbol: Symbol, number: int) -> bool:
        """Whether a round can compute a symbol without anything kept by another round."""
        if symbol.op == "constant" or self._place(symbol, number) is not None:
            return True
        if symbol in self._sources or not symbol.operands or symbol.op == "mean":
            return False
        return all(self._is_there(operand, number) for operand in symbol.operands)


class _Planes:
    """Which plane is free when."""

    def __init__(self) -> None:
        self._taken: list[list[range]] = []

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, written: int, read: int) -> int:
        """A plane that is free from round `written` on until just before round `read`."""
        wanted = range(written, max(read, written + 1))
        for number, taken in enumerate(self._taken):
            if all(r.stop <= wanted.start or wanted.stop <= r.start for r in taken):
                taken.append(wanted)
                return number
        self._taken.append([wanted])
        return len(self._taken) - 1
