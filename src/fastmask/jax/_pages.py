"""Large pages for large arrays, as NumPy asks for them for its own.

XLA takes the memory of a program from the system each time that it runs it, and the system gives
more than 32 MB page by page, at the first touch. With the usual 4 kB that took a quarter of a
training step's time.
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
    """Let the system give the memory of an array in large pages, if it can, and the array is large.

    What is in it stays.
    """
    size = array.nbytes
    if size < _LEAST or _madvise is None:
        return
    first = array.__array_interface__["data"][0]
    begin = -(-first // PAGE) * PAGE  # whole pages
    _madvise(begin, first + size - begin, ADVICE)


def advise_address() -> int:
    """Where madvise is, for compiled code that does the same; 0 where it is not to be called."""
    return 0 if _madvise is None else cast(_madvise, c_void_p).value or 0
