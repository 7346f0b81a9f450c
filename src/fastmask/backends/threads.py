"""How many threads a kernel may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

from .._checks import whole_number
from .changes import changed

_VARIABLE = "FASTMASK_NUM_THREADS"
_chosen: int | None = None
_by_user = False  # whether `set_num_threads` chose it
_here = local()  # `count` for each thread of Python


def set_num_threads(n: int) -> None:
    """Let kernels use at most `n` threads; results do not depend on it.

    Args:
        n: number of threads, at least 1.

    Raises:
        TypeError: `n` is not an integer.
        ValueError: `n` is less than 1.

    Examples:
        >>> import fastmask as fm
        >>> before = fm.get_num_threads()
        >>> fm.set_num_threads(1)
        >>> fm.get_num_threads()
        1
        >>> fm.set_num_threads(before)
    """
    global _chosen, _by_user
    _chosen, _by_user = whole_number(n, "n", 1), True
    changed()


def get_num_threads() -> int:
    """The number of threads that kernels may use.

    Unless `set_num_threads` was called, this is the environment variable FASTMASK_NUM_THREADS, or
    otherwise the number of processors that this process may run on.

    Returns:
        The number of threads, at least 1.

    Raises:
        ValueError: FASTMASK_NUM_THREADS is not a positive integer.

    Examples:
        >>> import fastmask as fm
        >>> fm.get_num_threads() >= 1
        True
    """
    here: int | None = getattr(_here, "count", None)
    if here is not None:
        return here
    return _chosen or threads_of_process()


def threads_of_process() -> int:
    """What `get_num_threads` says, but for `at_most`."""
    global _chosen
    if _chosen is None:
        _chosen = _default()
    return _chosen


def chosen_threads() -> int | None:
    """The number set by `set_num_threads` or FASTMASK_NUM_THREADS; None if neither is set."""
    said = _by_user or os.environ.get(_VARIABLE, "").strip()
    return get_num_threads() if said else None


@contextmanager
def at_most(count: int | None) -> Iterator[None]:
    """Let kernels called by this thread use `count` threads; None changes nothing."""
    before: int | None = getattr(_here, "count", None)
    _here.count = before if count is None else count
    try:
        yield
    finally:
        _here.count = before


def _default() -> int:
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return _usable_processors()
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise ValueError(f"{_VARIABLE} must be a positive integer, not {text!r}")
    return int(text)


def _usable_processors() -> int:
    affinity: Any = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1
