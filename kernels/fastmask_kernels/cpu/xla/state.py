"""What the handler shares with Python: a table that begins empty, and words that Python sets."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from llvmlite.binding import add_symbol
from numpy.typing import NDArray

from ...memory import address
from ..parallel import pool as _pool
from .entry import (
    ADVICE,
    ADVISE,
    ENTRIES,
    PAGE,
    PYTHON,
    QUEUE,
    QUEUE_SIZE,
    STATE,
    TABLE,
    TABLE_SIZE,
    THREADS,
)
from .handler import handle

_state = np.zeros(TABLE + TABLE_SIZE, np.int64)
_kept: list[NDArray[np.int64]] = []  # which compiled code may read as long as the process lives


def start(python: int, advise: int, advice: int, page: int) -> int:
    """The address of the handler.

    Args:
        python: the address of a C function that computes what is not known, of a frame's address,
            the key's, how many words that has, and the address where a new entry's is to be
            written; returns the address of an error or 0. Without a key the call is of no use to
            others; where the number is below 0, it was begun here, and failed.
        advise: the address of madvise, or 0.
        advice: its argument.
        page: bytes of a page.
    """
    add_symbol(STATE, address(_state))
    _state[[PYTHON, ADVISE, ADVICE, PAGE]] = python, advise, advice, page
    queue = _pool.pool.queue  # which a forked process has at the same place
    _state[[QUEUE, QUEUE_SIZE]] = address(queue), len(queue)
    return handle.address(np.dtype(np.int64))


def set_threads(number: int) -> None:
    """Set how many threads a call may use; 0 where only Python may compute."""
    _state[THREADS] = number


def keep(arrays: Sequence[NDArray[np.int64]], threads: int) -> None:
    """Keep what an entry leads to, of calls on so many threads, and start those."""
    _kept.extend(arrays)
    _pool.pool.start(threads - 1)


def _forget() -> None:
    """Let Python see each call once: it starts the threads, of which a fork has none."""
    _state[ENTRIES] = 0
    _state[TABLE:] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
