"""Where threads are in their kernel, and whether they still get on or wait forever."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

import numpy as np

PATIENCE = 300_000  # turns without a change of memory, after which threads count as waiting forever
BETWEEN = 2000  # turns from one look at the threads' variables to the next, at least
NAMED = 3  # of the threads at one place, in messages
SAME = 5  # looks in a row that find no new values, after which threads wait forever


class Progress:
    """Counts turns since memory changed: when a thread is held up, or a barrier opens.

    A loop that waits for a store reads memory and finds the same again and again; then its
    variables stay the same too. Those of a long computation change.

    Args:
        threads: number of threads of the launch.

    Attributes:
        turns: their number.
        watched: the number from which on it matters whether a store changes memory.
        due: the number at which to look whether the launch is over.
    """

    def __init__(self, threads: int) -> None:
        self._between = max(BETWEEN, 4 * threads)
        self.watched = self._between // 2
        self._known: set[int] = set()
        self.made()

    def made(self) -> None:
        """A thread changed memory or ended."""
        self.turns, self._same, self.due = 0, 0, min(self._between, PATIENCE)
        self._known.clear()

    @property
    def slow(self) -> bool:
        """Whether all threads must get their turn, since one of them may end the others' wait."""
        return self.turns >= self._between

    def is_over(self, threads: list[Any]) -> bool:
        """Whether the threads wait forever. Asked while all of them rest, when turns are due."""
        self.due = min(self.due + self._between, PATIENCE)
        living = [thread for thread in threads if not thread.dead]
        found = {hash((id(thread), *_variables(_frames(thread.gr_frame)))) for thread in living}
        self._same = 0 if found - self._known else self._same + 1
        self._known |= found
        if self._same < SAME and self.turns < PATIENCE:
            return False
        changed = [thread.stores.publish() for thread in living]  # one may wait for another's
        if any(changed):
            self.made()
        return not any(changed)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The kernel's frames from a thread's innermost on."""
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith(f"{__package__}."):
            yield frame
        frame = frame.f_back


def site_of(thread: Any) -> tuple[Any, int]:
    """The instruction at which a thread, at rest or running, is in its kernel."""
    frame = next(_frames(thread.gr_frame or sys._getframe()))
    return frame.f_code, frame.f_lasti


def place_of(thread: Any) -> str:
    """File and line at which a thread, at rest or running, is in its kernel."""
    frame = next(_frames(thread.gr_frame or sys._getframe()))
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def named(thread: Any) -> str:
    """A thread's index, with that of its block."""
    return f"{thread.index} of block {thread.block.index}"


def whereabouts(threads: list[Any], calls: dict[Any, str]) -> Iterator[str]:
    """A line for each place at which threads rest, with the first of them.

    Args:
        threads: all threads of a launch.
        calls: the calls in which threads wait for others.
    """
    places: dict[str, list[Any]] = {}
    for thread in threads:
        if not thread.dead:
            doing = f"waiting in {calls[thread]}" if thread in calls else "running"
            places.setdefault(f"{doing} at {place_of(thread)}", []).append(thread)
    for place, found in places.items():
        more = ["..."] if len(found) > NAMED else []
        first = ", ".join([*map(named, found[:NAMED]), *more])
        yield f"{_counted(len(found))} {place}: {first}"
    if ended := sum(thread.dead for thread in threads):
        yield f"{_counted(ended)} ended"


def _counted(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _variables(of: Iterable[FrameType]) -> list[Any]:
    return [_content(value) for frame in of for value in (frame.f_code, *frame.f_locals.values())]


def _content(value: Any) -> Any:
    """What tells a variable's value from others; of arrays of all threads, where they are."""
    if isinstance(value, np.ndarray):
        own = not hasattr(value, "common")
        return value.tobytes() if own else value.__array_interface__["data"]
    if isinstance(value, tuple):
        return tuple(map(_content, value))
    return repr(value) if isinstance(value, (int, float, np.generic)) else id(type(value))
