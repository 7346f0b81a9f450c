"""The worker threads that join calls, and the OpenMP threads that may take their place.

Numba's own thread pools either abort when two Python threads enter them at once (workqueue)
or do not survive a fork (GNU OpenMP). Here the calling thread works, and submits the call to a
queue where workers can join it (see `queue`). Threads claim their work (see `barrier`), so it makes
no difference how many workers come, or when: a busy or missing worker costs time, never a result,
and a call does not wait for workers that have claimed nothing.

A worker that has just worked polls the queue for a moment before it sleeps: it then joins within a
microsecond. Waking a sleeping worker costs the caller about 5 us, and the worker joins some 50 us
later: calls that will be over by then wake it only if they follow each other closely.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import AbstractContextManager, suppress
from contextvars import ContextVar
from queue import SimpleQueue
from time import perf_counter_ns
from typing import Any
from weakref import ref

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
    listen,
    new_queue,
    slot_start,
)

CLOSE_CALLS = 1_000_000  # ns; calls closer together than this soon want workers again
_STARTS = tuple(map(slot_start, range(SLOTS)))


class Pool:
    """Worker threads, their queue, and the arguments of calls that they may be running."""

    def __init__(self) -> None:
        self.queue = new_queue()
        # Calls that workers may still be running, whose arguments must stay alive; by the id of a
        # reference that dies with the call. Signals and garbage collections may come between any
        # two lines, and call kernels, too: so later calls remove what a call leaves here, in steps
        # that may be repeated.
        self.calls: dict[int, tuple[ref[Any], tuple[Any, ...], Any]] = {}
        self.ended: list[ref[Any]] = []
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._started = 0
        self._last = 0
        self._lock = threading.RLock()

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
        if _openmp.get() and self.queue[OPENMP]:
            return OPENMP_TEAM
        missing = workers - int(self.queue[LISTENERS])
        if missing > 0:
            now = perf_counter_ns()
            recent, self._last = now - self._last < CLOSE_CALLS, now
            if patient or recent:
                self._call(workers, missing)
            if not patient and missing == workers:
                return ALONE
        return WORKERS

    def _call(self, workers: int, missing: int) -> None:
        if self._started < workers:
            with self._lock:
                while self._started < workers:
                    name = f"fastmask-{self._started}"
                    try:
                        threading.Thread(target=self._work, name=name, daemon=True).start()
                    except RuntimeError:  # at the system's limit, or as the interpreter ends
                        break
                    self._started += 1
        for _ in range(missing - self._wake.qsize()):
            self._wake.put(None)

    def _work(self) -> None:
        listening = listen.for_dtype_silently(self.queue.dtype)
        while True:
            self._wake.get()
            listening(self.queue)

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
    pool = Pool()  # a forked process has none of its parent's threads
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_pool)
