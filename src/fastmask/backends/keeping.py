"""A cache of results, limited in bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Generic, NamedTuple, TypeVar

R = TypeVar("R")

ENTRY_BYTES = 1024  # added to each result's arrays, to limit the number of small results


class Kept(NamedTuple):
    """The contents of a cache."""

    currsize: int  # results
    size: int  # bytes


class Keeping(Generic[R]):
    """A function that caches its latest results; `functools.lru_cache` limits only their number.

    Two threads may compute the same result at the same time. A lock against that would stay locked
    forever in a process forked meanwhile.

    Args:
        make: the function, of hashable positional arguments.
        size_of: returns the bytes of the result for the same arguments.
        most_bytes: limit for all cached results; a larger one is not cached.
    """

    def __init__(self, make: Callable[..., R], size_of: Callable[..., int], most_bytes: int):
        update_wrapper(self, make)
        self.make, self._size_of, self._most_bytes = make, size_of, most_bytes
        self._kept: dict[tuple[Any, ...], R] = {}

    def __call__(self, *key: Any) -> R:
        """The cached result, or a new one."""
        found = self._kept.get(key)
        if found is None:
            found = self.make(*key)
            if self._bytes(key) <= self._most_bytes:
                self._keep(key, found)
        return found

    def _keep(self, key: tuple[Any, ...], result: R) -> None:
        kept = {**self._kept, key: result}
        size = sum(map(self._bytes, kept))
        for oldest in list(kept):
            if size <= self._most_bytes:
                break
            size -= self._bytes(oldest)
            del kept[oldest]
        self._kept = kept

    def _bytes(self, key: tuple[Any, ...]) -> int:
        return ENTRY_BYTES + self._size_of(*key)

    def cache_info(self) -> Kept:
        """How much is cached."""
        kept = self._kept
        return Kept(len(kept), sum(map(self._bytes, kept)))

    def cache_clear(self) -> None:
        """Empty the cache."""
        self._kept = {}


def keeping(
    size_of: Callable[..., int], most_bytes: int
) -> Callable[[Callable[..., R]], Keeping[R]]:
    """Decorator form of `Keeping`."""
    return lambda make: Keeping(make, size_of, most_bytes)
