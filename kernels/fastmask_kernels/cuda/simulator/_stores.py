"""What a thread wrote to memory of others, who see it only from its next barrier or fence on.

While the thread runs, memory holds what it wrote, and here stands what was there before; whenever
it lets others run, the two change places. So nobody else sees its stores, and its own loads, to
which nothing is added, find them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

MOST = 64  # stores that are held back: when there are more, all see the oldest one
LONGEST = 1000  # times that others run before they see all: some wait for just that


class Stores:
    """The stores of a thread since its last barrier or fence."""

    def __init__(self) -> None:
        self._held: list[tuple[Any, Any, Any]] = []  # array, index, what others see there
        self._hidden = 0

    def put(self, array: Any, index: Any, value: Any) -> None:
        """Store a value, and hold it back."""
        self._held.append(_exchanged(array, index, value))
        if len(self._held) > MOST:
            del self._held[0]

    def flush(self) -> None:
        """Hold nothing back any more."""
        self._held.clear()
        self._hidden = 0

    def flush_place(self, array: Any, index: Any) -> None:
        """Hold nothing back of one place, on which an atomic operation follows."""
        place = _place(array, index)
        self._held = [
            held for held in self._held if not np.may_share_memory(_place(*held[:2]), place)
        ]

    def hide(self) -> None:
        """Let memory be as others see it."""
        self._hidden += 1
        if self._hidden > LONGEST:
            self.flush()
        self._change_places()

    def show(self) -> None:
        """Let memory be as the thread sees it, after `hide`."""
        self._change_places()

    def _change_places(self) -> None:
        self._held = [_exchanged(*held) for held in reversed(self._held)]


_get: Callable[..., Any] = np.ndarray.__getitem__
_set: Callable[..., Any] = np.ndarray.__setitem__


def _exchanged(array: Any, index: Any, value: Any) -> tuple[Any, Any, Any]:
    """Store a value; returned is what it takes to store again what was there before."""
    before = _get(array, index)
    if isinstance(before, np.ndarray):
        before = before.copy()
    _set(array, index, value)
    return array, index, before


def _place(array: Any, index: Any) -> Any:
    """The items of an array at an index, as a view."""
    return array.view(np.ndarray)[(*index, ...) if isinstance(index, tuple) else (index, ...)]
