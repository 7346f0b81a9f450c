"""The rounds of a cell's step: what is computed when, and where it is kept.

A step takes one round over the units, or several if something needs all units of a row first: a
sum that is called on a value needs that value, and `normalize` its mean and variance. A round
computes what the rounds after it need from what is known by then; what it does not store they
compute again.

Besides the row of sums in z, values are kept in planes, which hold one number for each unit of
each row. There are two for h, before and after the step; one for each other state; one for each
value that a sum is called on; and one for each group of values that are normalized together,
which holds the mean and the sum of squares of each register of units.
"""

from __future__ import annotations

from typing import NamedTuple

from ...cells.cell import Cell
from ...cells.rounds import Place
from ...formula import Symbol, walk


class Kept(NamedTuple):
    """A value that a round stores in a block of z, in the order of the blocks."""

    block: int
    symbol: Symbol
    always: bool  # for later rounds too, not only for the backward pass


class Round(NamedTuple):
    """One round of a step."""

    known: dict[Symbol, Place]  # what it loads
    planes: dict[Place, Symbol]  # new states, and values that sums are called on
    moments: dict[Place, Symbol]  # groups whose mean and variance it computes
    kept: tuple[Kept, ...]

    @property
    def roots(self) -> tuple[Symbol, ...]:
        """All that the round computes."""
        normalized = (x for group in self.moments.values() for x in group.args)
        return (*self.planes.values(), *normalized, *(k.symbol for k in self.kept))


class _Stored(NamedTuple):
    """A value, its place, and the symbol that it overwrites there."""

    symbol: Symbol
    place: Place
    lost: Symbol | None


class Rounds:
    """The rounds of a cell.

    Attributes:
        planes: how many planes there are.
        products: by call of a sum, the round whose product it needs and the plane of its value.
        rounds: the rounds.
    """

    def __init__(self, cell: Cell) -> None:
        formula = cell.formula
        saved = [s for s in cell.saved if s is not None]
        everything = list(walk([*formula.new, *saved]))
        self._depths = _depths(everything)
        self._last = max(self._depths.values())
        values = dict.fromkeys(call.args[1] for call in cell.called)
        groups = [s for s in everything if s.op == "moments"]
        first = 1 + len(formula.states)
        self._values = {s: Place("plane", first + n) for n, s in enumerate(values)}
        self._groups = {s: Place("moments", first + len(values) + n) for n, s in enumerate(groups)}
        self.planes = first + len(values) + len(groups)
        self.products = {
            call: (self._depths[call], self._values[call.args[1]].number) for call in cell.called
        }
        self._leaves = self._places_of_leaves(cell)
        self._states = [
            _Stored(new, Place("plane", 1 + n) if n else Place("new"), old if n else None)
            for n, (new, old) in enumerate(zip(formula.new, formula.states.values(), strict=True))
        ]
        in_blocks = {place.number: s for s, place in self._leaves.items() if place.kind == "block"}
        self._saved = [
            _Stored(symbol, Place("block", n), in_blocks.get(n))
            for n, symbol in enumerate(cell.saved)
            if symbol is not None
        ]
        self._find_due()
        self.rounds = tuple(map(self._round, range(self._last + 1)))

    def _places_of_leaves(self, cell: Cell) -> dict[Symbol, Place]:
        formula, places = cell.formula, dict[Symbol, Place]()
        calls = {call.args[0].args[0]: call for call in cell.called}
        for n, name in enumerate(cell.order):
            places[calls.get(name, formula.sums[name])] = Place("block", n)
        for n, symbol in enumerate(formula.states.values()):
            places[symbol] = Place("plane", 1 + n) if n else Place("old")
        for n, symbol in enumerate(formula.vectors.values()):
            places[symbol] = Place("vector", n)
        return places

    def _find_due(self) -> None:
        """Find the round that stores each value: the one that computes it, if nothing is lost.

        A value that overwrites the very sum of which it is a function waits for the first round
        that computes with it, which then does so before the value is rounded.
        """
        stored = (*self._states, *self._saved)
        waiting = [s for s in stored if s.symbol.operands == (s.lost,)]
        self._due = {s: self._depths[s.symbol] for s in stored if s not in waiting}
        needed = {s: n for n in reversed(range(self._last + 1)) for s in self._needed(n)}
        self._due |= {s: needed.get(s.symbol, self._depths[s.symbol]) for s in waiting}
        while True:
            later = [self._needed(n) for n in range(self._last + 1)]
            losing = [
                s
                for s, due in self._due.items()
                if due < self._last and any(s.lost in found for found in later[due + 1 :])
            ]
            if not losing:
                return
            self._due |= dict.fromkeys(losing, self._last)

    def _known(self, number: int) -> dict[Symbol, Place]:
        """What is kept somewhere when a round begins, and where."""
        depths = self._depths
        known = {s: p for s, p in self._leaves.items() if depths.get(s, 0) <= number}
        known |= {s: p for s, p in self._groups.items() if depths[s] <= number}
        for stored, due in reversed(self._due.items()):
            if due < number:
                known[stored.symbol] = stored.place
        return known | {s: p for s, p in self._values.items() if depths[s] < number}

    def _round_without_known(self, number: int) -> Round:
        depths = self._depths
        due = [s for s in (*self._states, *self._saved) if self._due.get(s) == number]
        planes = {s.place: s.symbol for s in due if s.place.kind != "block"}
        planes |= {p: s for s, p in self._values.items() if depths[s] == number}
        moments = {p: s for s, p in self._groups.items() if depths[s] == number + 1}
        kept = [Kept(s.place.number, s.symbol, False) for s in due if s.place.kind == "block"]
        return Round({}, planes, moments, tuple(kept))

    def _needed(self, number: int) -> list[Symbol]:
        """What a round computes, and the known values from which it does so."""
        known, stack = self._known(number), list(self._round_without_known(number).roots)
        seen: dict[Symbol, None] = {}
        while stack:
            symbol = stack.pop()
            if symbol not in seen:
                seen[symbol] = None
                if symbol not in known:
                    stack += symbol.operands
        return list(seen)

    def _loaded(self, number: int) -> dict[Symbol, Place]:
        known = self._known(number)
        return {symbol: known[symbol] for symbol in self._needed(number) if symbol in known}

    def _round(self, number: int) -> Round:
        this, known = self._round_without_known(number), self._loaded(number)
        later = {
            found for n in range(number + 1, self._last + 1) for found in self._loaded(n).items()
        }
        kept = (k._replace(always=(k.symbol, Place("block", k.block)) in later) for k in this.kept)
        return this._replace(known=known, kept=tuple(kept))


def _depths(symbols: list[Symbol]) -> dict[Symbol, int]:
    """By symbol, operands first, the first round that can compute it."""
    found: dict[Symbol, int] = {}
    for symbol in symbols:
        before = max((found[s] for s in symbol.operands), default=0)
        found[symbol] = before + (symbol.op in ("sum_of", "moments"))
    return found
