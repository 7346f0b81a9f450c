"""Barriers of threads, and the values that they exchange there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from ._progress import named, place_of, site_of

FULL = 0xFFFFFFFF  # all lanes of a warp


def this() -> Any:
    """The running thread."""
    return getcurrent()


class Exchange:
    """The values that threads exchange at a barrier."""

    def __init__(self, parties: int) -> None:
        self.shown: list[Any] = [None] * parties
        self._made: Any = self

    def made(self, make: Callable[[list[Any]], Any]) -> Any:
        """What `make` makes of the values; all threads ask for the same, so it is made once."""
        if self._made is self:
            self._made = make(self.shown)
        return self._made


class Barrier:
    """A barrier that threads may leave for good: then the others no longer wait for them.

    Args:
        parties: number of threads.
        engine: the scheduler of their launch.
        places: number of places for the values that they exchange.
        of: whose barrier it is, where the name of a call does not tell.
    """

    def __init__(self, parties: int, engine: Any, places: int, of: str = "") -> None:
        self._parties, self._engine, self._places, self._of = parties, engine, places, of
        engine.barriers.append(self)
        self.waiting: list[Any] = []
        self._call: Any = None  # of those that wait
        self._exchanged = Exchange(places)

    def wait(self, call: Any, place: int = 0, value: Any = None) -> Exchange:
        """Show a value to the others and wait until all have shown theirs.

        Args:
            call: what the thread calls, which must be the same for all: its name, and the place
                if that matters.
            place: of the value.
            value: to show.

        Raises:
            RuntimeError: threads meet that call different functions, or at different lines.
        """
        thread, exchanged = this(), self._exchanged
        if call != self._call:
            if self.waiting:
                self._compare(thread, call)
            self._call = call
        exchanged.shown[place] = value
        self.waiting.append(thread)
        self._open_for_all()
        thread.rest()
        return exchanged

    def _compare(self, thread: Any, call: Any) -> None:
        """Raise an error if two threads are at different lines, or call different functions."""
        first, other = (
            f"{_name_of(made)} at {place_of(one)}"
            for made, one in ((self._call, self.waiting[0]), (call, thread))
        )
        if first != other:  # the same line may call from two places of its code
            raise RuntimeError(
                "threads that wait for each other must all make the same call: thread "
                f"{named(self.waiting[0])} is in {first}, thread {named(thread)} in {other}; move "
                "the call out of the branch, or name in its mask the lanes of a warp that make it"
            )

    @property
    def call(self) -> str:
        """The call in which threads wait."""
        return f"{_name_of(self._call)}{self._of}"

    def leave(self) -> None:
        """Stop the others from waiting for the calling thread."""
        self._parties -= 1
        self._open_for_all()

    @property
    def left_by_all(self) -> bool:
        """Whether all threads have left."""
        return self._parties == 0

    def _open_for_all(self) -> None:
        if self.waiting and len(self.waiting) >= self._parties:
            self._engine.go_on(self.waiting)
            self.waiting, self._exchanged = [], Exchange(self._places)


def _name_of(call: Any) -> str:
    return str(call if isinstance(call, str) else call[0])


class Warp:
    """The lanes of a warp, of which those wait for each other that a mask names."""

    def __init__(self, lanes: int, engine: Any) -> None:
        self._present, self._engine = (1 << lanes) - 1, engine
        self._barriers: dict[int, Barrier] = {}
        self._passed: dict[Any, int] = {}  # the last mask of a place and a lane, once some differ

    def wait(self, call: str, lane: int, value: Any, mask: int = FULL) -> Exchange:
        """Show a value to the lanes of a mask, and wait until all have shown theirs.

        Raises:
            RuntimeError: the mask does not name the lane, or lanes that wait for each other make
                different calls or pass different masks.
        """
        if mask != FULL:
            mask = int(mask) & FULL
            if not mask >> lane & 1:
                raise RuntimeError(
                    f"the mask {mask:#x} of {call} at {place_of(this())} does not name its lane "
                    f"{lane}: pass the mask of the lanes that call it, {FULL:#x} for all"
                )
        if mask != FULL or self._passed:
            self._compare_masks(lane, mask)
        if mask not in self._barriers:
            parties = (mask & self._present).bit_count()
            of = "" if mask == FULL else f" with mask {mask:#x}"
            self._barriers[mask] = Barrier(parties, self._engine, 32, of)
        return self._barriers[mask].wait(call, lane, value)

    def _compare_masks(self, lane: int, mask: int) -> None:
        """Raise an error if a lane waits for this one with another mask, and this one for it."""
        thread = this()
        self._passed[site_of(thread), lane] = mask
        for other, barrier in self._barriers.items():
            if other != mask and other >> lane & 1:
                for one in barrier.waiting:
                    if mask >> one.lane & 1:
                        raise _of_masks((one, other), (thread, mask))
        if mask & ~self._present:
            self._compare_with_ended(thread, mask)

    def _compare_with_ended(self, thread: Any, mask: int) -> None:
        """Raise an error if a lane waits for one that passed its place with another mask."""
        site = site_of(thread)
        for lane in range(32):
            other = self._passed.get((site, lane), mask)
            if other != mask and (mask & ~self._present) >> lane & 1:
                raise _of_masks((thread, mask), (lane, other))

    @property
    def present(self) -> int:
        """The mask of the lanes that have not ended."""
        return self._present

    def leave(self, lane: int) -> None:
        """Stop the others from waiting for a lane."""
        self._present &= ~(1 << lane)
        for mask, barrier in self._barriers.items():
            if mask >> lane & 1:
                if self._passed and barrier.waiting:
                    self._compare_with_ended(barrier.waiting[0], mask)
                barrier.leave()


def _of_masks(first: tuple[Any, int], other: tuple[Any, int]) -> RuntimeError:
    """An error that names two lanes, as threads or by a number if ended, and their masks."""
    told = []
    for thread, mask in (first, other):
        ended = isinstance(thread, int)
        lane, place = (thread, "the same line") if ended else (thread.lane, place_of(thread))
        told.append(f"lane {lane} passes {mask:#x} at {place}")
    return RuntimeError(
        f"the lanes that a mask names must pass the same mask: {', '.join(told)}; make the mask of "
        "the lanes that call before they branch"
    )


def exchange(call: str, value: Any, mask: int = FULL) -> list[Any]:
    """Show a value to the lanes of a mask; returns what every lane shows, None for the others."""
    thread = this()
    shown: list[Any] = thread.warp.wait(call, thread.lane, value, mask).shown
    return shown
