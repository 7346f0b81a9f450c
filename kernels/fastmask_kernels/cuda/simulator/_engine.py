"""The threads of a launch, and their scheduler."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from greenlet import greenlet
from numpy.typing import NDArray

from ._barriers import Barrier, Warp, this
from ._progress import Progress, named, whereabouts
from ._stores import Stores

INTERRUPTED = 1 / 64  # of all accesses to shared and global memory
LATEST_FIRST = 0.95  # how often the last thread held up goes on first, so that others stay longer


class Engine:
    """The scheduler of threads that run at once, which draws their order from a seed.

    Args:
        seed: of the order.
        later: whether blocks of the launch start after these threads.
    """

    def __init__(self, seed: int, later: bool) -> None:
        self._later = later
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
                thread.throw(self._stuck(self._forever(), threads))
            thread.switch()
        if not all(thread.dead for thread in threads):
            raise self._stuck(
                "deadlock: threads of the kernel wait for each other forever; all that a barrier "
                "waits for must reach it, so move it out of branches and loops",
                threads,
            )

    def _forever(self) -> str:
        """What to say of a thread that waits for a store that never comes."""
        forever = "a thread of the kernel waits forever"
        if not self._later:
            return forever
        return (
            f"{forever}: if for another block, pass cooperative=True; without it blocks run one "
            "after another, and the later ones have not started"
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
