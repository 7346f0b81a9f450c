"""Memory for results, which is used again once nobody refers to it any more."""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np

from fastmask_kernels.forks import CHANGING, fork_safe, fork_safe_lock

from .._typing import Array

LEAST, MOST = 1 << 16, 1 << 26  # bytes: of one array worth keeping, and of all that are kept
_LINE = 64
_ALONE = 2  # references to what a list has and `getrefcount` is given


class Reuse:
    """Memory whose pages are there already, and of which TensorFlow makes tensors without copying.

    New memory costs a page fault every 4 KiB, which takes longer than to compute on it. Whoever
    holds an array, a view of it, or a tensor made of it refers to its memory: so it is free when
    no reference is left but the one here. What was not taken for longest is forgotten beyond `most`
    bytes.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most, self._kept = most, list[Array]()
        self._lock = fork_safe_lock(CHANGING)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An uninitialized array; one worth keeping begins on a cache line."""
        size = prod(shape) * dtype.itemsize
        if not LEAST <= size <= self._most:
            return np.empty(shape, dtype)
        step = 1 << size.bit_length() - 4  # sizes differ from batch to batch
        with fork_safe(self._lock):
            memory = self._taken(-(-size // step) * step + _LINE)
            start = -memory.ctypes.data % _LINE
            return memory[start:][:size].view(dtype).reshape(shape)

    def _taken(self, size: int) -> Array:
        """Memory of so many bytes, or a few more, now the one taken last."""
        for i in range(len(self._kept)):
            if size <= self._kept[i].size <= size + size // 4 and self._is_free(i):
                self._kept.append(self._kept.pop(i))
                return self._kept[-1]
        self._kept.append(np.empty(size, np.uint8))
        while self.size > self._most:
            del self._kept[0]
        return self._kept[-1]

    def _is_free(self, i: int) -> bool:
        return sys.getrefcount(self._kept[i]) == _ALONE

    @property
    def size(self) -> int:
        """Bytes of what is kept, in use or not."""
        return sum(memory.size for memory in self._kept)
