"""Watching layers while they are called, wherever in a model the calls happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# Gets layer, inputs, mask, further arguments, and a function that makes the call.
Watcher = Callable[[Any, Any, Any, dict[str, Any], Callable[[], Any]], Any]
watcher: ContextVar[Watcher | None] = ContextVar("fastmask_watcher", default=None)


@contextmanager
def watching(by: Watcher | None) -> Iterator[None]:
    """Let all layer calls in this context go through `by`; through nothing if it is None."""
    token = watcher.set(by)
    try:
        yield
    finally:
        watcher.reset(token)
