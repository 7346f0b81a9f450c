"""Settings of a thread or task, for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

_T = TypeVar("_T")


@contextmanager
def setting(variable: ContextVar[_T], value: _T) -> Iterator[None]:
    """Set a variable in this thread or task, and set it back at the end of the block."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
