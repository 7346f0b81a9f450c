"""Functions to call when the number of threads or the table of kernels changes."""

from __future__ import annotations

from collections.abc import Callable

_told: list[Callable[[], None]] = []


def tell_changes_to(function: Callable[[], None]) -> None:
    """Call a function now and after each change."""
    _told.append(function)
    function()


def changed() -> None:
    """Call all registered functions."""
    for function in _told:
        function()
