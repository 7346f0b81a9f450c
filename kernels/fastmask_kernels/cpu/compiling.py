"""Telling users that they are waiting for the compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core.event import Listener, install_listener


class _Once(Listener):  # type: ignore[misc]  # Numba is Any here
    """Calls a function when the first compilation begins."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell: Callable[[], None] | None = tell

    def on_start(self, event: Any) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()

    def on_end(self, event: Any) -> None:
        """Do nothing: `on_start` has told it."""


@contextmanager
def telling(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` once if a kernel is compiled in this block, not loaded from the cache."""
    with install_listener("numba:compile", _Once(tell)):
        yield
