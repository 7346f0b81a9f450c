"""A thread's stores, which others see only from its next barrier or fence on.

While the thread runs, memory holds what it stored, and this module keeps what was there before;
whenever the thread lets others run, the two are swapped. So no other thread sees its stores, and
its own loads find them at no cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

MOST = 64  # stores held back at most; with more, the oldest becomes visible
LONGEST = 1000  # times that others run before they see all stores: they may be polling for one


class Stores:
    """The stores of a thread since its last barrier or fence."""

    def __init__(self) -> None:
        self._held: list[tuple[Any, Any, Any]] = []  # array, index, the value that others see there
        self._hidden = 0

    def put(self, array: Any, index: Any, value: Any) -> None:
        """Store a value, and hold it back."""
        self._held.append(_exchanged(array, index, value))
        if len(self._held) > MOST:
            del self._held[0]

    def changed(self) -> bool:
        """Whether the last store changed memory."""
        return differs(*self._held[-1])

    def publish(self) -> bool:
        """Make the stores of a thread that rests visible; returns whether that changes memory."""
        before = [held for held in self._held if differs(*held)]
        self.show()
        self.flush()
        return bool(before)

    def flush(self) -> None:
        """Make all stores visible."""
        self._held.clear()
        self._hidden = 0

    def flush_place(self, array: Any, index: Any) -> None:
        """Make the stores to one place visible, before an atomic operation on it."""
        place = _place(array, index)
        self._held = [
            held for held in self._held if not np.may_share_memory(_place(*held[:2]), place)
        ]

    def hide(self) -> None:
        """Put memory in the state that others see."""
        self._hidden += 1
        if self._hidden > LONGEST:
            self.flush()
        self._change_places()

    def show(self) -> None:
        """Put memory back in the state that the thread sees, after `hide`."""
        self._change_places()

    def _change_places(self) -> None:
        self._held = [_exchanged(*held) for held in reversed(self._held)]


_get: Callable[..., Any] = np.ndarray.__getitem__
_set: Callable[..., Any] = np.ndarray.__setitem__


def _exchanged(array: Any, index: Any, value: Any) -> tuple[Any, Any, Any]:
    """Store a value; returns the arguments that store the previous one again."""
    before = _get(array, index)
    if isinstance(before, np.ndarray):
        # Otherwise NumPy would get the items from Python, where other threads are let in.
        before, array = before.copy(), array.view(np.ndarray)
    assign(array, index, value)
    return array, index, before


def assign(array: Any, index: Any, value: Any) -> None:
    """Store a value, without the bits that an array of integers has no place for."""
    try:
        _set(array, index, value)
    except OverflowError:
        _set(array, index, np.asarray(value).astype(array.dtype))


def differs(array: Any, index: Any, value: Any) -> bool:
    """Whether memory holds other bytes than those of an item or items of the same array."""
    return bool(_get(array, index).tobytes() != value.tobytes())


def _place(array: Any, index: Any) -> Any:
    """The items of an array at an index, as a view."""
    return array.view(np.ndarray)[(*index, ...) if isinstance(index, tuple) else (index, ...)]
