"""What the handler shares with Python: words that Python sets, and the table, empty at first."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from llvmlite.binding import add_symbol
from numpy.typing import NDArray

from ...memory import address
from ..parallel import pool as _pool
from ..parallel.schedule import MOST_THREADS
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
_kept: list[NDArray[np.int64]] = []  # compiled code may read these until the process ends


def start(python: int, advise: int, advice: int, page: int) -> int:
    """Initialize the state; returns the address of the handler.

    Args:
        python: the address of a C function that computes calls without an entry. It takes the
            addresses of the call frame and of the key, the key's length, and the address to
            write a new entry's address to; it returns the address of an error, or 0. The length
            is 0 if no entry is wanted, and below 0 if compiled code has begun the call and failed.
        advise: the address of madvise, or 0.
        advice: its argument.
        page: the page size in bytes.
    """
    add_symbol(STATE, address(_state))
    _state[[PYTHON, ADVISE, ADVICE, PAGE]] = python, advise, advice, page
    queue = _pool.pool.queue  # at the same address in a forked process
    _state[[QUEUE, QUEUE_SIZE]] = address(queue), len(queue)
    return handle.address(np.dtype(np.int64))


def set_threads(number: int) -> None:
    """Set how many threads a call may use; 0 to let Python compute all calls."""
    _state[THREADS] = min(number, MOST_THREADS)  # the workspace has counters for each


def keep(arrays: Sequence[NDArray[np.int64]], threads: int) -> None:
    """Keep the arrays of an entry alive, and start the workers that its calls may use."""
    _kept.extend(arrays)
    _pool.pool.start(threads - 1)


def _forget() -> None:
    """Empty the table after a fork: making an entry starts the workers, which the child lacks."""
    _state[ENTRIES] = 0
    _state[TABLE:] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
