"""Settings of a thread or task, for the length of a block."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Generic, TypeVar

_T = TypeVar("_T")


class setting(Generic[_T]):
    """Set a variable in this thread or task, and set it back at the end of the block.

    A class, because a generator would take three times as long.
    """

    __slots__ = "_token", "_value", "_variable"

    def __init__(self, variable: ContextVar[_T], value: _T) -> None:
        self._variable, self._value = variable, value

    def __enter__(self) -> None:
        self._token: Token[_T] = self._variable.set(self._value)

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)
