"""The worker threads that join calls, and the OpenMP threads that may take their place.

Numba's own thread pools either abort when two Python threads enter them at once (workqueue)
or do not survive a fork (GNU OpenMP). Here the calling thread works, and submits the call to a
queue where workers can join it (see `queue`). Threads claim their work (see `barrier`), so it makes
no difference how many workers come, or when: a busy or missing worker costs time, never a result,
and a call does not wait for workers that have claimed nothing.

A worker that has just worked polls the queue for a moment before it sleeps: it then joins within a
microsecond. Waking a sleeping worker costs the caller about 5 us, and the worker joins some 50 us
later: calls that will be over by then wake it only if they follow each other closely. Compiled code
decides and does all this (see `workers`); Python starts the threads, and keeps what they may read.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from contextlib import AbstractContextManager, suppress
from contextvars import ContextVar
from time import sleep
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from ...settings import setting
from .queue import (
    ALONE,
    CONTROL,
    INSIDE,
    LISTENERS,
    OPENMP,
    OPENMP_TEAM,
    SLOTS,
    TAKEN,
    WORKERS,
    new_queue,
    slot_start,
)
from .workers import WANTED, find_or_work

_STARTS = tuple(map(slot_start, range(SLOTS)))


class Pool:
    """Worker threads, their queue, and the arguments of calls that they may be running."""

    def __init__(self, queue: NDArray[np.int64] | None = None) -> None:
        self.queue = new_queue() if queue is None else queue
        # Calls that workers may still be running, whose arguments must stay alive; by the id of a
        # reference that dies with the call. Signals and garbage collections may come between any
        # two lines, and call kernels, too: so later calls remove what a call leaves here, in steps
        # that may be repeated.
        self.calls: dict[int, tuple[ref[Any], tuple[Any, ...], Any]] = {}
        self.ended: list[ref[Any]] = []
        self._started = self._wanted = 0
        self._starting = threading.RLock()

    def find(self, workers: int, patient: bool) -> int:
        """Who provides the threads for a call, see `queue.ALONE`.

        Args:
            workers: most workers that may join, at least one.
            patient: whether the call is long enough to wake sleeping workers.
        """
        if self.ended:
            self.forget()
        if len(self.calls) >= SLOTS and all(map(self._in_use, _STARTS)):
            return ALONE
        queue = self.queue
        if _openmp.get() and queue[OPENMP]:
            return OPENMP_TEAM
        if queue[LISTENERS] >= workers:
            return WORKERS
        provider: int = find_or_work.for_dtype_silently(queue.dtype)(queue, workers, patient)
        if queue[WANTED] > self._started:
            self.start(int(queue[WANTED]))
        return provider

    def start(self, workers: int) -> None:
        """Start worker threads until there are so many; also for calls that compiled code makes.

        Nobody waits for the lock: its holder may wait for a new thread in which a finalizer calls
        a kernel. The holder looks again for how many are wanted after it has released the lock.
        As the interpreter ends, new threads do not run: before Python 3.12 one waits for them for
        ever.
        """
        if sys.is_finalizing():
            return
        self._wanted = max(self._wanted, workers)
        while self._started < self._wanted and self._starting.acquire(blocking=False):
            try:
                name = f"fastmask-{self._started}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
                self._started += 1
            except RuntimeError:  # at the system's limit
                break
            finally:
                self._starting.release()

    def _work(self) -> None:
        find_or_work.for_dtype_silently(self.queue.dtype)(self.queue, 0, False)

    def settle(self) -> None:
        """Wait until no worker is inside a call that has ended.

        For calls whose arguments are memory that no Python object keeps.
        """
        for call in tuple(self.ended):
            kept = self.calls.get(id(call))
            while kept is not None and self._somebody_inside(kept[2]):
                sleep(0)
        self.forget()

    def forget(self) -> None:
        """Release the arguments of calls that have ended and that no worker is running any more."""
        for call in tuple(self.ended):
            kept = self.calls.get(id(call))
            if kept is not None and self._somebody_inside(kept[2]):
                continue
            self.calls.pop(id(call), None)
            with suppress(ValueError):  # another thread has removed it
                self.ended.remove(call)

    def _somebody_inside(self, control: Any) -> bool:
        address = control.__array_interface__["data"][0]
        return any(
            self.queue[start + CONTROL] == address and self.queue[start + INSIDE] != 0
            for start in _STARTS
        )

    def _in_use(self, start: int) -> bool:
        return bool(self.queue[start + TAKEN] or self.queue[start + INSIDE])


pool = Pool()  # of this process
_openmp: ContextVar[bool] = ContextVar("fastmask_openmp", default=False)
_forked = False


def openmp_team(library: ctypes.CDLL | None) -> AbstractContextManager[None]:
    """Calls in this block use the OpenMP threads of `library` instead of workers.

    Args:
        library: a loaded OpenMP library, or None for workers.
    """
    return setting(_openmp, library is not None and _knows(pool.queue, library))


def _knows(queue: Any, library: ctypes.CDLL) -> bool:
    """Write the addresses of the library's functions to the queue, if it has them."""
    if _forked:  # the parent's OpenMP threads are gone, but the library does not notice
        return False
    if queue[OPENMP] == 0:
        names = ("GOMP_parallel", "omp_get_thread_num")
        if not all(hasattr(library, name) for name in names):
            return False
        parallel, number = (
            ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names
        )
        queue[OPENMP + 1] = number
        queue[OPENMP] = parallel
    return True


def _new_pool() -> None:
    global pool, _forked
    # A forked process has none of its parent's threads, but compiled code that knows the address
    # of its queue.
    pool.queue[:] = 0
    pool = Pool(pool.queue)
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_pool)
