"""Integers of 8, 16 and 32 bits as kernels load them: int64, in which Numba computes with them.

Only what Numba computes in their own width keeps it: `-x` and `~x`, whose results are wide again,
and `abs(x)`, which stays narrow.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class _Item(np.int64):
    """An integer that was loaded from a narrower one, of which it knows the range."""

    __slots__ = ()
    first: int  # the smallest number
    count: int  # of all numbers

    def _cut(self, number: int) -> int:
        return (number - self.first) % self.count + self.first

    def __neg__(self) -> Any:
        return np.int64(self._cut(-int(self)))

    def __invert__(self) -> Any:
        return np.int64(self._cut(~int(self)))

    def __abs__(self) -> Any:
        return type(self)(self._cut(abs(int(self))))


def _of(kind: type[Any]) -> type[_Item]:
    info = np.iinfo(kind)
    return type(kind.__name__, (_Item,), {"first": info.min, "count": 2**info.bits})


_KINDS = {kind: _of(kind) for kind in (np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32)}
NARROW = frozenset(_KINDS)
_new = np.int64.__new__


def item(value: Any) -> Any:
    """What a kernel gets for a number from an array, an atomic operation, or a launch."""
    kind = _KINDS.get(type(value))
    return value if kind is None else _new(kind, int(value))  # kind(value) takes twice as long
