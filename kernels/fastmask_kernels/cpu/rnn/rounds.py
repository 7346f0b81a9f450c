"""The rounds of a cell's step: what of its formula is computed when, and where it is kept.

A step is one round over the units, or several, where something needs all units of a row first: a
sum that is called on a value needs that value, and `normalize` its mean and variance. A round
computes what the rounds after it need from what is known by then; what it does not leave
somewhere they compute again.

Where things are kept, besides the row of sums in z: planes, which hold one number for each unit
of each row: two of h, before and after the step; then one for each other state; one for each
value that a sum is called on; and one for each group of values that are normalized together,
which holds the mean and the sum of squares of each register of units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...cells.cell import Cell
from ...formula import Symbol, walk


class Place(NamedTuple):
    """Where a value is found.

    Kinds: "block" of a row of z, "old" or "new" h, "plane", "moments" (in a plane), "vector".
    `number` says which one.
    """

    kind: str
    number: int = 0


class Kept(NamedTuple):
    """A value that a round leaves in a block of z."""

    block: int
    symbol: Symbol
    always: bool  # for rounds after this one too, not only for the backward pass


class Round(NamedTuple):
    """One round of a step."""

    known: dict[Symbol, Place]  # all that it begins with
    planes: dict[Place, Symbol]  # new states, and values that sums are called on
    moments: dict[Place, Symbol]  # what it finds mean and variance of
    kept: tuple[Kept, ...]

    @property
    def roots(self) -> tuple[Symbol, ...]:
        """All that the round computes."""
        normalized = (x for group in self.moments.values() for x in group.args)
        return (*self.planes.values(), *normalized, *(k.symbol for k in self.kept))


class _Stored(NamedTuple):
    """A value with a place of its own, and what is lost when it goes there."""

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
        self._early = self._find_early()
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

    def _find_early(self) -> list[_Stored]:
        """What is stored in the round that finds it: where nothing is lost that is needed later."""
        early = [s for s in (*self._states, *self._saved) if self._depths[s.symbol] < self._last]
        while True:
            self._early = early
            later = [set(self._reached(n)) for n in range(self._last + 1)]
            kept = [
                s
                for s in early
                if not any(s.lost in found for found in later[self._depths[s.symbol] + 1 :])
            ]
            if len(kept) == len(early):
                return kept
            early = kept

    def _known(self, number: int) -> dict[Symbol, Place]:
        """What is found somewhere when a round begins."""
        depths = self._depths
        known = {s: p for s, p in self._leaves.items() if depths.get(s, 0) <= number}
        known |= {s: p for s, p in self._groups.items() if depths[s] <= number}
        for stored in reversed(self._early):
            if depths[stored.symbol] < number:
                known[stored.symbol] = stored.place
        return known | {s: p for s, p in self._values.items() if depths[s] < number}

    def _is_due(self, stored: _Stored, number: int) -> bool:
        return number == (self._depths[stored.symbol] if stored in self._early else self._last)

    def _round_without_known(self, number: int) -> Round:
        depths = self._depths
        planes = {s.place: s.symbol for s in self._states if self._is_due(s, number)}
        planes |= {p: s for s, p in self._values.items() if depths[s] == number}
        moments = {p: s for s, p in self._groups.items() if depths[s] == number + 1}
        kept = [
            Kept(s.place.number, s.symbol, False) for s in self._saved if self._is_due(s, number)
        ]
        return Round({}, planes, moments, tuple(kept))

    def _reached(self, number: int) -> Iterator[Symbol]:
        """What of the known a round needs."""
        known = self._known(number)
        stack, seen = list(self._round_without_known(number).roots), set[Symbol]()
        while stack:
            symbol = stack.pop()
            if symbol in seen:
                continue
            seen.add(symbol)
            if symbol in known:
                yield symbol
            else:
                stack += symbol.operands

    def _round(self, number: int) -> Round:
        this = self._round_without_known(number)
        places = self._known(number)
        known = {symbol: places[symbol] for symbol in self._reached(number)}
        later = {
            (symbol, self._known(n)[symbol])
            for n in range(number + 1, self._last + 1)
            for symbol in self._reached(n)
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
