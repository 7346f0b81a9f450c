"""A buffer pool for results."""

from __future__ import annotations

import sys
from math import prod
from threading import Lock
from typing import Any

import numpy as np

from .._typing import Array

LEAST, MOST = 1 << 16, 1 << 26  # bytes: the smallest array from the pool, and all of the pool
PATIENCE = 1e-3  # seconds
_LINE = 64
_ALONE = 2  # reference count of a buffer held by a list and by `getrefcount`


class Reuse:
    """Memory whose pages are already mapped, and of which TensorFlow makes tensors without copying.

    New memory costs a page fault every 4 KiB, which takes longer than computing on it. Arrays,
    their views, and tensors made of them hold references to their buffer, so a buffer is free when
    the pool's reference is the only one. Beyond `most` bytes the least recently used are dropped.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most, self._kept = most, list[Array]()
        self._lock = Lock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An uninitialized array; one from the pool is aligned to a cache line."""
        size = prod(shape) * dtype.itemsize
        # The lock is not awaited for long: a finalizer or a signal's handler that comes while this
        # thread holds it, or a forked process, gets memory of its own.
        if not LEAST <= size <= self._most or not self._lock.acquire(timeout=PATIENCE):
            return np.empty(shape, dtype)
        try:
            step = 1 << size.bit_length() - 4  # rounded up: sizes differ from batch to batch
            memory = self._taken(-(-size // step) * step + _LINE)
        finally:
            self._lock.release()
        start = -memory.ctypes.data % _LINE
        return memory[start:][:size].view(dtype).reshape(shape)

    def _taken(self, size: int) -> Array:
        """A buffer of this many bytes, or slightly more, now the most recently used one."""
        for i in range(len(self._kept)):
            if size <= self._kept[i].size <= size + size // 4 and self._is_free(i):
                self._kept.append(self._kept.pop(i))
                return self._kept[-1]
        memory = np.empty(size, np.uint8)
        self._kept.append(memory)
        while self.size > self._most:  # in the end without this one, which may be too large itself
            del self._kept[0]
        return memory

    def _is_free(self, i: int) -> bool:
        return sys.getrefcount(self._kept[i]) == _ALONE

    @property
    def size(self) -> int:
        """Bytes of all buffers, in use or not."""
        return sum(memory.size for memory in self._kept)
