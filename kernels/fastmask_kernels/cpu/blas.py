"""Large matrix products and sums, left to a library: NumPy, or the calling framework.

A framework's own products run in the threads that it already has; a second library beside it
would bring its own, and on as many processors as threads they would keep each other waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SUMMED_ROWS = 1 << 16  # which are multiplied by ones at a time

Array = NDArray[np.floating]
Product = Callable[[Array, Array, Array], Any]
"""Writes a @ b to its third argument."""
Sum = Callable[[Array, Array], Any]
"""Writes the sum of each column of a matrix to its second argument."""


def _sum(values: Array, out: Array) -> None:
    ones = np.ones(min(len(values), SUMMED_ROWS), values.dtype)
    np.matmul(ones, values[:SUMMED_ROWS], out=out)
    for begin in range(SUMMED_ROWS, len(values), SUMMED_ROWS):
        rows = values[begin : begin + SUMMED_ROWS]
        out += ones[: len(rows)] @ rows


class _Library(NamedTuple):
    product: Product = np.matmul
    sum: Sum = _sum


class _Context(threading.local):
    library = _Library()


_context = _Context()


@contextmanager
def computed_by(product: Product, sum: Sum) -> Iterator[None]:
    """Products and sums within, in this thread, are done by these two."""
    before = _context.library
    _context.library = _Library(product, sum)
    try:
        yield
    finally:
        _context.library = before


def multiply(a: Array, b: Array, out: Array | None = None) -> Array:
    """a @ b of a (M, K) and b (K, N), in `out` or a new array."""
    if out is None:
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    if a.shape[1] and out.size:
        _context.library.product(a, b, out)
    else:
        out[...] = 0
    return out


def sum_columns(values: Array) -> Array:
    """Sum of each column of a matrix (M, N): (N,)."""
    out = np.empty(values.shape[1], values.dtype)
    _context.library.sum(values, out)
    return out
