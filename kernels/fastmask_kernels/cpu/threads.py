"""Helper threads for kernels that share their work among threads.

Numba's own thread pools either abort when two Python threads enter them at once (workqueue)
or do not survive a fork (GNU OpenMP). Here the calling thread works, and offers shares of
the work to helpers. Kernels hand out their work by claims (see `teamwork`), so it makes no
difference how many helpers come, or when: a busy or missing helper costs time, never a
result, and a call does not wait for helpers that have nothing in hand.

A helper that has just worked listens for the next call for a moment before it sleeps: it then
comes within 3 us instead of 20, unless the caller holds the interpreter's lock just then.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from numba import types

from ._compile import compiled, output
from .atomics import atomic_load, spin_hint
from .teamwork import ABORTED

LISTENING = 4000  # pauses of the processor, about 0.1 ms


@compiled(lambda t: types.void(output(t, 1), types.int64))
def _listen(bell: Any, heard: int) -> None:
    """Return when the bell has rung again, or after a moment."""
    for _ in range(LISTENING):
        spin_hint()
        if atomic_load(bell, 0) != heard:
            break


class _Job:
    """One call of a kernel, while it still needs help."""

    def __init__(self, kernel: Callable[..., None], arguments: tuple[Any, ...], control: Any):
        self.kernel, self.arguments, self.control = kernel, arguments, control
        self.open = True
        self.error: BaseException | None = None

    def work(self, member: int) -> None:
        try:
            self.kernel(*self.arguments, member)
        except BaseException as error:
            self.error = error
            self.control[ABORTED] = 1  # let the others stop waiting


class _Helpers:
    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[_Job, int]] = SimpleQueue()
        self._bell = np.zeros(1, np.int64)  # counts offers
        self._started = 0
        self._lock = threading.Lock()

    def offer(self, job: _Job, helpers: int) -> None:
        if self._started < helpers:
            with self._lock:
                while self._started < helpers:
                    name = f"fastmask-{self._started}"
                    threading.Thread(target=self._help, name=name, daemon=True).start()
                    self._started += 1
        for member in range(1, helpers + 1):
            self._queue.put((job, member))
        self._bell[0] += 1

    def _help(self) -> None:
        listen = _listen.for_dtype(self._bell.dtype)
        while True:
            heard = int(self._bell[0])
            if self._queue.empty():
                listen(self._bell, heard)
            job, member = self._queue.get()
            if job.open:
                job.work(member)
            del job  # keep no array alive while waiting


_helpers = _Helpers()


def _forget_helpers() -> None:
    global _helpers
    _helpers = _Helpers()  # a forked process has none of its parent's threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def run_shared(
    kernel: Callable[..., None], arguments: tuple[Any, ...], members: int, control: Any
) -> None:
    """Call kernel(*arguments, 0) here and offer members 1 to `members` - 1 to helpers.

    Args:
        kernel: returns when all the work is done, whoever did it.
        arguments: what it is called with, followed by the member's number.
        members: how many threads may take part, this one included.
        control: the kernel's counters; see `teamwork`.

    Raises:
        BaseException: what a member raised.
    """
    if members == 1:
        kernel(*arguments, 0)
        return
    job = _Job(kernel, arguments, control)
    _helpers.offer(job, members - 1)
    job.work(0)
    job.open = False
    if job.error is not None:
        raise job.error
