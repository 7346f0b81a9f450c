"""Helper threads for kernels that share their work among threads.

Numba's own thread pools either abort when two Python threads enter them at once (workqueue)
or do not survive a fork (GNU OpenMP). Here the calling thread works, and posts the call where
helpers can join it (see `queue`). Kernels hand out their work by claims (see `barrier`), so
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
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from time import perf_counter_ns
from typing import Any
from weakref import ref

from .queue import (
    ALONE,
    CONTROL,
    FAILURE,
    INSIDE,
    LEFT,
    LISTENERS,
    OPENMP,
    SLOTS,
    TAKEN,
    TEAM,
    WORKERS,
    listen,
    new_board,
    slot_start,
)

CLOSE_CALLS = 1_000_000  # ns between calls that soon want the same helpers again
_STARTS = tuple(map(slot_start, range(SLOTS)))


class _Running:
    """Lives as long as `run_shared` runs, however that ends."""

    __slots__ = ("__weakref__",)


class _Helpers:
    def __init__(self) -> None:
        self.board = new_board()
        # Arguments of calls that helpers may be inside of, so that they outlive them. Signals
        # and garbage collections may come between any two lines, and call kernels, too: so what
        # a call leaves here is let go of by later ones, in steps that can be done twice.
        self.calls: dict[int, tuple[ref[_Running], tuple[Any, ...], Any]] = {}  # by id of the first
        self.ended: list[ref[_Running]] = []
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._started = 0
        self._last = 0
        self._lock = threading.RLock()

    def invite(self, helpers: int, patient: bool) -> int:
        """Who will look for a call that so many helpers may join."""
        if self.ended:
            self.forget()
        if len(self.calls) >= SLOTS and all(map(self._in_use, _STARTS)):
            return ALONE
        if _context.openmp and self.board[OPENMP]:
            return TEAM
        missing = helpers - int(self.board[LISTENERS])
        if missing > 0:
            now = perf_counter_ns()
            recent, self._last = now - self._last < CLOSE_CALLS, now
            if patient or recent:
                self._call(helpers, missing)
            if not patient and missing == helpers:
                return ALONE
        return WORKERS

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

    def forget(self) -> None:
        """Let go of the arguments of calls that have ended, where no helper is inside any more."""
        for call in tuple(self.ended):
            kept = self.calls.get(id(call))
            if kept is not None and self._somebody_inside(kept[2]):
                continue
            self.calls.pop(id(call), None)
            with suppress(ValueError):  # of another thread, which did the same
                self.ended.remove(call)

    def _somebody_inside(self, control: Any) -> bool:
        address = control.__array_interface__["data"][0]
        return any(
            self.board[start + CONTROL] == address and self.board[start + INSIDE] != 0
            for start in _STARTS
        )

    def _in_use(self, start: int) -> bool:
        return bool(self.board[start + TAKEN] or self.board[start + INSIDE])

    def _help(self) -> None:
        listening = listen.for_dtype_silently(self.board.dtype)
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


def who_helps(members: int, patient: bool) -> int:
    """Who will look for a call: ALONE if nobody would come, WORKERS, or an OpenMP TEAM.

    Args:
        members: how many threads may take part, the calling one included.
        patient: whether the call is long enough for helpers that have to be woken first.
    """
    return ALONE if members == 1 else _helpers.invite(members - 1, patient)


def run_shared(
    kernel: Callable[..., int], arguments: tuple[Any, ...], help_from: int, control: Any
) -> int:
    """Call kernel(*arguments, board, help_from, 0) here, which helpers may join.

    Args:
        kernel: begins with `queue.post`, and returns what that returns, or something below 0
            before it.
        arguments: what it is called with, followed by the board, who helps, and the member's
            number.
        help_from: from `who_helps`.
        control: begins with the kernel's counters; see `barrier`.

    Returns:
        What the kernel returned: LEFT if all helpers have left, so that the arguments may be
        used for another call, STILL_INSIDE if not; or what is below 0.

    Raises:
        RuntimeError: a thread's part failed.
    """
    helpers = _helpers
    if help_from == ALONE:
        return kernel(*arguments, helpers.board, ALONE, 0)
    running = _Running()
    call = ref(running, helpers.ended.append)  # a function in C: nothing interrupts it
    helpers.calls[id(call)] = call, arguments, control
    try:
        state = kernel(*arguments, helpers.board, help_from, 0)
        if state <= LEFT:
            del helpers.calls[id(call)], call  # without the reference nobody is told of `running`
    finally:
        del running  # a traceback may keep this frame
    if state == FAILURE:
        raise RuntimeError("a thread of this call failed; FASTMASK_NUM_THREADS=1 shows the error")
    return state
