"""Large pages for large arrays, which NumPy requests for its own arrays, too.

XLA allocates a program's memory anew in each run. Above 32 MB it comes from the system, page by
page at the first touch. With the usual pages of 4 kB that took a quarter of a training step.
"""

from __future__ import annotations

import mmap
import sys
from ctypes import CDLL, c_int, c_size_t, c_void_p, cast
from typing import Any

from .._typing import Array

_LEAST = 4 << 20  # bytes; NumPy has the same bound
PAGE = mmap.PAGESIZE
ADVICE: int = getattr(mmap, "MADV_HUGEPAGE", 0)  # not everywhere
_madvise: Any = CDLL(None).madvise if sys.platform == "linux" and ADVICE else None
if _madvise is not None:
    _madvise.argtypes = [c_void_p, c_size_t, c_int]


def ask_for_large_pages(array: Array) -> None:
    """Ask the system for large pages for an array, if it has them and the array is large.

    The contents stay.
    """
    size = array.nbytes
    if size < _LEAST or _madvise is None:
        return
    first = array.__array_interface__["data"][0]
    begin = -(-first // PAGE) * PAGE  # whole pages
    _madvise(begin, first + size - begin, ADVICE)


def advise_address() -> int:
    """The address of madvise, for compiled code that does the same; 0 if it is not to be called."""
    return 0 if _madvise is None else cast(_madvise, c_void_p).value or 0
