"""The threads of a launch, their scheduler, and their barriers."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from greenlet import getcurrent, greenlet
from numpy.typing import NDArray

from ._progress import Progress, named, place_of, whereabouts
from ._stores import Stores

FULL = 0xFFFFFFFF  # all lanes of a warp
INTERRUPTED = 1 / 64  # of all accesses to shared and global memory
LATEST_FIRST = 0.95  # how often the last thread held up goes on first, so that others stay longer


class Engine:
    """The scheduler of a launch's threads, which draws their order from a seed."""

    def __init__(self, seed: int) -> None:
        self.ready: deque[Thread] = deque()
        self.barriers: list[Barrier] = []
        self._held_up: list[Thread] = []
        self.dice = random.Random(seed)
        self.progress = Progress(0)

    def run(self, threads: list[Thread]) -> None:
        """Run all threads to their end; raises what one of them raises."""
        self.progress = progress = Progress(len(threads))
        self.go_on(threads)
        while self.ready or self._held_up:
            thread = self.ready.popleft() if self.ready else self._released()
            if progress.turns >= progress.due and progress.is_over(threads):
                thread.throw(self._stuck("a thread of the kernel waits forever", threads))
            thread.switch()
        if not all(thread.dead for thread in threads):
            raise self._stuck(
                "deadlock: threads of the kernel wait for each other forever; all that a barrier "
                "waits for must reach it, so move it out of branches and loops",
                threads,
            )

    def _stuck(self, what: str, threads: list[Thread]) -> RuntimeError:
        """An error that says where all threads are."""
        calls = {thread: barrier.call for barrier in self.barriers for thread in barrier.waiting}
        return RuntimeError("\n  ".join([f"{what}:", *whereabouts(threads, calls)]))

    def _released(self) -> Thread:
        if self.progress.slow:
            return self._held_up.pop(0)
        if self.dice.random() < LATEST_FIRST:
            return self._held_up.pop()
        return self._held_up.pop(self.dice.randrange(len(self._held_up)))

    def go_on(self, threads: list[Thread]) -> None:
        """Make threads ready to run, starting from the first or from the last."""
        self.progress.turns += 1
        self.ready.extend(threads if self.dice.random() < 0.5 else reversed(threads))

    def hold_up(self) -> None:
        """Let the calling thread go on only when no other thread can."""
        self.progress.turns += 1
        thread = this()
        self._held_up.append(thread)
        thread.rest()

    def interrupt(self) -> None:
        """Hold up the calling thread now and then, before accesses to shared or global memory."""
        if self.dice.random() < INTERRUPTED:
            self.hold_up()


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

    def __init__(self, parties: int, engine: Engine, places: int, of: str = "") -> None:
        self._parties, self._engine, self._places, self._of = parties, engine, places, of
        engine.barriers.append(self)
        self.waiting: list[Thread] = []
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

    def _compare(self, thread: Thread, call: Any) -> None:
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

    def __init__(self, lanes: int, engine: Engine) -> None:
        self._present, self._engine = (1 << lanes) - 1, engine
        self._barriers: dict[int, Barrier] = {}

    def wait(self, call: str, lane: int, value: Any, mask: int = FULL) -> Exchange:
        """Show a value to the lanes of a mask, and wait until all have shown theirs.

        Raises:
            RuntimeError: the mask does not name the lane, or lanes make different calls.
        """
        if mask != FULL:
            mask = int(mask) & FULL
            if not mask >> lane & 1:
                raise RuntimeError(
                    f"the mask {mask:#x} of {call} at {place_of(this())} does not name its lane "
                    f"{lane}: pass the mask of the lanes that call it, {FULL:#x} for all"
                )
        if mask not in self._barriers:
            parties = (mask & self._present).bit_count()
            of = "" if mask == FULL else f" with mask {mask:#x}"
            self._barriers[mask] = Barrier(parties, self._engine, 32, of)
        return self._barriers[mask].wait(call, lane, value)

    @property
    def present(self) -> int:
        """The mask of the lanes that have not ended."""
        return self._present

    def leave(self, lane: int) -> None:
        """Stop the others from waiting for a lane."""
        self._present &= ~(1 << lane)
        for mask, barrier in self._barriers.items():
            if mask >> lane & 1:
                barrier.leave()


class Block:
    """What the threads of a block share."""

    def __init__(self, index: Any, threads: int, engine: Engine, grid: Barrier | None) -> None:
        self.index, self.engine = index, engine
        self.grid = grid  # the barrier of all blocks, if they run at once
        self.barrier = Barrier(threads, engine, threads)
        self.warps = [Warp(min(32, threads - w), engine) for w in range(0, threads, 32)]
        self.arrays: dict[Any, NDArray[Any]] = {}


class Thread(greenlet):  # type: ignore[misc]  # greenlet is Any here
    """One thread of a kernel, which runs `work`.

    Attributes:
        stores: its stores that others cannot see yet.
    """

    def __init__(self, work: Callable[[], None], block: Block, number: int, index: Any) -> None:
        super().__init__()
        self._work, self.block, self.engine = work, block, block.engine
        self.number, self.index = number, index  # in its block, as a number and as threadIdx
        self.warp, self.lane = block.warps[number // 32], number % 32
        self.stores = Stores()
        self.copies: list[Any] = []  # asynchronous copies that it started: (target, source)
        self.gr_context = copy_context()  # holds NumPy's error state

    def rest(self) -> None:
        """Let others run, without showing them the stores that are held back."""
        self.stores.hide()
        self.parent.switch()
        self.stores.show()

    def run(self) -> None:
        """Do the work, then leave all barriers."""
        try:
            self._work()
        except Exception as error:
            if hasattr(error, "add_note"):  # from Python 3.11 on
                error.add_note(f"in thread {named(self)}")
            raise
        self.engine.progress.made()
        self.block.barrier.leave()
        self.warp.leave(self.lane)
        # As on a GPU, other blocks wait forever for one that has ended.
        if self.block.grid is not None and not self.block.barrier.left_by_all:
            self.block.grid.leave()


def this() -> Any:
    """The running thread."""
    return getcurrent()


def exchange(call: str, value: Any, mask: int = FULL) -> list[Any]:
    """Show a value to the lanes of a mask; returns what every lane shows, None for the others."""
    thread = this()
    shown: list[Any] = thread.warp.wait(call, thread.lane, value, mask).shown
    return shown
