"""Locks that a forked process finds free.

A fork copies the thread that calls it, and the memory of all others: a lock that one of these
holds stays locked in the child for ever, and what it guards, such as LLVM's memory, stays half
changed. So whoever forks first takes these locks, which waits until the work that they guard is
done: at most as long as one kernel compiles.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from threading import RLock
from typing import Any

# A thread that holds one of these may wait for those behind it, never for those before it.
BUILDING, CHANGING, IMPORTING, COMPILING, COMPILER, LLVM = range(6)
_locks: dict[int, list[AbstractContextManager[Any]]] = {rank: [] for rank in range(6)}
_held: list[ExitStack] = []
_watching = False
_TRIES = 100  # of one lock, against signals


class ForkSafeLock:
    """A reentrant lock that every fork waits for.

    Args:
        rank: which other locks its holders may wait for; see the constants of this module.
    """

    def __init__(self, rank: int) -> None:
        self._lock = RLock()
        _locks[rank].append(self._lock)

    def __enter__(self) -> None:
        _watch_forks()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def hold_at_fork(lock: AbstractContextManager[Any], rank: int) -> None:
    """Let every fork wait for somebody else's lock, and leave it free in parent and child.

    Args:
        lock: reentrant, for a thread may fork while it holds it itself.
        rank: see `ForkSafeLock`.
    """
    _watch_forks()
    _locks[rank].append(lock)


def _watch_forks() -> None:
    global _watching
    if _watching or not hasattr(os, "register_at_fork"):
        return
    # It takes a lock at forks, too, which Numba takes while it is imported and when it compiles.
    # What is registered last is called first: so ours are taken, and free again, before that one.
    import logging  # noqa: F401

    os.register_at_fork(before=_take, after_in_parent=_release, after_in_child=_release)
    _watching = True  # two threads may have come here; reentrant locks can be taken twice


def _take() -> None:
    stack = ExitStack()
    _held.append(stack)
    interrupt: BaseException | None = None
    for lock in _in_order():
        for _ in range(_TRIES):
            try:
                stack.enter_context(lock)
                break
            except BaseException as error:  # a signal: after the fork, which must not go without
                interrupt = error
    if interrupt is not None:
        raise interrupt  # which Python prints


def _in_order() -> Iterator[AbstractContextManager[Any]]:
    """The locks, with those that are added while others are waited for."""
    for rank in sorted(_locks):
        yield from _locks[rank]


def _release() -> None:
    if _held:
        _held.pop().close()
