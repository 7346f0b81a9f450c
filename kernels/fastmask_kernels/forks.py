"""Locks that are free in a forked process.

A fork copies only the thread that calls it, but the memory of all threads: a lock that another
thread holds stays locked in the child for ever, and what it guards, such as LLVM's memory, stays
half changed. So a fork takes these locks first, and thereby waits until the work that they guard
is done: at most as long as one kernel takes to compile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from operator import methodcaller
from threading import RLock
from typing import Any

# A thread that holds one of these may wait for those after it, never for those before it.
BUILDING, CHANGING, IMPORTING, COMPILING, COMPILER, LLVM = range(6)
_locks: dict[int, list[Any]] = {rank: [] for rank in range(6)}
_held: list[Any] = []  # by the fork under way, once each time they were taken
_watching = False
_TRIES = 100  # against signals

# Python handles signals between the steps of Python code, on 3.10 even while a `with` block ends.
# Taking a lock and noting that it is held, and releasing all, are therefore C functions alone.
_acquire, _release = methodcaller("acquire"), methodcaller("release")


class _Releases:
    """Releases the locks that are held, one for each item of an iteration."""

    __iter__ = staticmethod(partial(map, _release, _held))


_release_all = partial(any, _Releases())  # `release` returns None, so it goes on to the last


def fork_safe_lock(rank: int) -> AbstractContextManager[Any]:
    """A reentrant lock that every fork waits for, to be taken by `with fork_safe(lock)`.

    It is Python's own lock, written in C: with a lock written in Python, a signal's exception could
    come after the lock is taken and before the block begins, and the lock would stay taken.

    Args:
        rank: which other locks its holders may wait for; see the constants of this module.
    """
    lock = RLock()
    _locks[rank].append(lock)
    return lock


def fork_safe(lock: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
    """The lock; forks are watched from the first use on, which keeps imports short."""
    _watch_forks()
    return lock


def hold_at_fork(lock: Any, rank: int) -> None:
    """Let every fork wait for another library's lock, and leave it free in parent and child.

    Args:
        lock: an RLock, because a thread may fork while it holds the lock; anything else, which a
            later version of the library may use, is left alone.
        rank: see `fork_safe_lock`.
    """
    if isinstance(lock, type(RLock())):
        _watch_forks()
        _locks[rank].append(lock)


def _watch_forks() -> None:
    global _watching
    if _watching or not hasattr(os, "register_at_fork"):
        return
    # `logging` takes a lock at forks, too, which Numba takes while it is imported and when it
    # compiles. What is registered last is called first before a fork: so ours are taken first.
    import logging  # noqa: F401 - for what it registers

    # A signal that came during the fork is handled in the first Python function after it, which
    # its exception then ends: these are not written in Python.
    os.register_at_fork(before=_take, after_in_parent=_release_all, after_in_child=_release_all)
    os.register_at_fork(after_in_parent=_held.clear, after_in_child=_held.clear)
    _watching = True  # if two threads got here: reentrant locks can be taken twice


def _take() -> None:
    """Take all locks, however often a signal's exception interrupts that; then raise it."""
    interrupt: BaseException | None = None
    for _ in range(_TRIES):
        try:
            _held.extend(filter(_acquire, _in_order()))
            break
        except BaseException as error:  # what is held already will be held twice
            interrupt = error
    if interrupt is not None:
        raise interrupt  # which Python prints


def _in_order() -> Iterator[AbstractContextManager[Any]]:
    """All locks by rank, including those that are added while a fork waits for others."""
    for rank in sorted(_locks):
        yield from _locks[rank]
