"""Helper threads for kernels that share their work among threads.

Numba's own thread pools either abort when two Python threads enter them at once (workqueue)
or do not survive a fork (GNU OpenMP). Here the calling thread works, and posts the call where
helpers can join it (see `handoff`). Kernels hand out their work by claims (see `teamwork`), so
it makes no difference how many helpers come, or when: a busy or missing helper costs time,
never a result, and a call does not wait for helpers that have nothing in hand.

A helper that has just worked listens for a moment before it sleeps: it then comes within a
microsecond. One that sleeps must be woken, which costs the caller about 5 us and comes some
50 us later: calls that will be over by then wake it only if they follow each other closely.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from time import perf_counter_ns
from typing import Any

from .handoff import (
    A_HELPER_FAILED,
    INSIDE,
    LEFT,
    LISTENERS,
    OPEN,
    OPENMP,
    SLOTS,
    TEAM,
    listen,
    new_board,
    slot_start,
)
from .teamwork import ABORTED

ALONE = -1  # no slot: nobody can join
CLOSE_CALLS = 1_000_000  # ns between calls that soon want the same helpers again


class _Helpers:
    def __init__(self) -> None:
        self.board = new_board()
        self._free = [slot_start(slot) for slot in range(SLOTS)]
        self._late: list[tuple[int, tuple[Any, ...]]] = []
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._started = 0
        self._last = 0
        self._lock = threading.Lock()

    def invite(self, helpers: int, patient: bool) -> int:
        """A slot in which so many helpers will look for a call, or ALONE."""
        if self._late:
            self._collect()
        if _context.openmp:
            return self._slot(team=1)
        missing = helpers - int(self.board[LISTENERS])
        if missing > 0:
            now = perf_counter_ns()
            recent, self._last = now - self._last < CLOSE_CALLS, now
            if patient or recent:
                self._call(helpers, missing)
            if not patient and missing == helpers:
                return ALONE
        return self._slot(team=0)

    def _slot(self, team: int) -> int:
        try:
            start = self._free.pop()
        except IndexError:
            return ALONE
        self.board[start + TEAM] = team
        return start

    def _call(self, helpers: int, missing: int) -> None:
        if self._started < helpers:
            with self._lock:
                while self._started < helpers:
                    name = f"fastmask-{self._started}"
                    try:
                        threading.Thread(target=self._help, name=name, daemon=True).start()
                    except RuntimeError:  # at the system's limit, or as the interpreter ends
                        break
                    self._started += 1
        for _ in range(missing - self._wake.qsize()):
            self._wake.put(None)

    def release(self, start: int, arguments: tuple[Any, ...]) -> None:
        """Give a slot back, later if a helper is still in it: it may yet read the arguments."""
        if self.board[start + INSIDE] == 0:
            self._free.append(start)
        else:
            self._late.append((start, arguments))

    def _collect(self) -> None:
        late, self._late = self._late, []
        for start, arguments in late:
            self.release(start, arguments)

    def _help(self) -> None:
        listening = listen.for_dtype(self.board.dtype)
        while True:
            self._wake.get()
            listening(self.board)


class _Context(threading.local):
    openmp = False


_helpers = _Helpers()
_context = _Context()
_forked = False


@contextmanager
def openmp_team(library: ctypes.CDLL | None) -> Iterator[None]:
    """Calls within take their members from the OpenMP threads of `library`.

    Args:
        library: an OpenMP library that is loaded, or None for threads of our own.
    """
    before = _context.openmp
    _context.openmp = library is not None and _knows(_helpers.board, library)
    try:
        yield
    finally:
        _context.openmp = before


def _knows(board: Any, library: ctypes.CDLL) -> bool:
    """Put the library's functions on the board, if it has them."""
    if _forked:  # an OpenMP team of the parent does not live here, but believes it does
        return False
    if board[OPENMP] == 0:
        names = ("GOMP_parallel", "omp_get_thread_num")
        if not all(hasattr(library, name) for name in names):
            return False
        parallel, number = (
            ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names
        )
        board[OPENMP + 1] = number
        board[OPENMP] = parallel
    return True


def _forget_helpers() -> None:
    global _helpers, _forked
    _helpers = _Helpers()  # a forked process has none of its parent's threads
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def reserve(members: int, patient: bool) -> int:
    """A slot on the board where helpers will look for a call, or ALONE if none would come.

    Args:
        members: how many threads may take part, the calling one included.
        patient: whether the call is long enough for helpers that have to be woken first.
    """
    return ALONE if members == 1 else _helpers.invite(members - 1, patient)


def run_shared(
    kernel: Callable[..., int], arguments: tuple[Any, ...], start: int, control: Any
) -> int:
    """Call kernel(*arguments, board, start, 0) here, which helpers may join.

    Args:
        kernel: begins with `handoff.post`, returns what `handoff.withdraw` returns, when all
            the work is done, whoever did it; or something below 0 before it has begun.
        arguments: what it is called with, followed by the board, the slot, and the member's
            number.
        start: from `reserve`; it is given back.
        control: begins with the kernel's counters; see `teamwork`.

    Returns:
        What the kernel returned: LEFT if all helpers have left, so that the arguments may be
        used for another call, STILL_INSIDE if not; or what is below 0.

    Raises:
        RuntimeError: a helper failed.
    """
    helpers = _helpers
    if start == ALONE:
        return kernel(*arguments, helpers.board, start, 0)
    try:
        state = kernel(*arguments, helpers.board, start, 0)
    except BaseException:
        control[ABORTED] = 1  # let the others stop waiting
        helpers.board[start + OPEN] = 0
        helpers.release(start, arguments)
        raise
    if state <= LEFT:
        helpers._free.append(start)
        return state
    helpers.release(start, arguments)
    if state == A_HELPER_FAILED:
        raise RuntimeError("a helper thread failed; FASTMASK_NUM_THREADS=1 shows the error")
    return state
