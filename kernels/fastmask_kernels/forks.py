"""Locks that a forked process finds free.

A fork copies the thread that calls it, and the memory of all others: a lock that one of these
holds stays locked in the child for ever, and what it guards, such as LLVM's memory, stays half
changed. So whoever forks first takes these locks, which waits until the work that they guard is
done: at most as long as one kernel compiles.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from threading import RLock
from typing import Any

# A thread that holds one of these may wait for those behind it, never for those before it.
BUILDING, CHANGING, IMPORTING, COMPILING, COMPILER, LLVM = range(6)
_locks: dict[int, list[AbstractContextManager[Any]]] = {rank: [] for rank in range(6)}
_holding: list[Generator[None]] = []
_watching = False
_TRIES = 100  # against signals


def fork_safe_lock(rank: int) -> AbstractContextManager[Any]:
    """A reentrant lock that every fork waits for, to be taken by `with fork_safe(lock)`.

    It is one of Python's own: `with` on anything written in Python can be left by a signal's
    exception after the lock is taken and before the block begins, which would never give it back.

    Args:
        rank: which other locks its holders may wait for; see the constants of this module.
    """
    lock = RLock()
    _locks[rank].append(lock)
    return lock


def fork_safe(lock: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
    """The lock, once forks are watched: not before one is taken, which keeps imports short."""
    _watch_forks()
    return lock


def hold_at_fork(lock: AbstractContextManager[Any], rank: int) -> None:
    """Let every fork wait for somebody else's lock, and leave it free in parent and child.

    Args:
        lock: reentrant, for a thread may fork while it holds it itself.
        rank: see `fork_safe_lock`.
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

    # A signal that came during the fork is handled in the first Python function after it, which
    # its exception leaves: so what gives the locks back is none. What is dropped is closed.
    drop = _holding.clear
    os.register_at_fork(before=_take, after_in_parent=drop, after_in_child=drop)
    _watching = True  # two threads may have come here; reentrant locks can be taken twice


def _take() -> None:
    interrupt: BaseException | None = None
    for _ in range(_TRIES):
        held = _hold(_in_order())
        try:
            next(held)
            _holding.append(held)
        except BaseException as error:  # a signal: after the fork, which must not go without
            interrupt = error
        done = held in _holding
        del held  # `interrupt` keeps this frame, and what it names
        if done:
            break
    if interrupt is not None:
        raise interrupt  # which Python prints


def _hold(locks: Iterator[AbstractContextManager[Any]]) -> Generator[None]:
    """Hold what is left of the locks until it is closed."""
    lock = next(locks, None)
    if lock is None:
        yield
        return
    with lock:
        yield from _hold(locks)


def _in_order() -> Iterator[AbstractContextManager[Any]]:
    """The locks, with those that are added while others are waited for."""
    for rank in sorted(_locks):
        yield from _locks[rank]
