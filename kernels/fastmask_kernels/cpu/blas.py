"""Large matrix products and sums, left to a library: NumPy, or the calling framework.

A framework's own products run in the threads that it already has; a second library beside it
would bring its own, and on as many processors as threads they would keep each other waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..settings import setting

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


_NUMPY = _Library()
_library: ContextVar[_Library] = ContextVar("fastmask_cpu_products", default=_NUMPY)


def computed_by(product: Product, sum: Sum) -> AbstractContextManager[None]:
    """Products and sums within, in this thread or task, are done by these two."""
    return setting(_library, _Library(product, sum))


def multiply(a: Array, b: Array, out: Array | None = None) -> Array:
    """a @ b of a (M, K) and b (K, N), in `out` or a new array."""
    if out is None:
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    if a.shape[1] and out.size:
        _library.get().product(a, b, out)
    else:
        out[...] = 0
    return out


def sum_columns(values: Array) -> Array:
    """Sum of each column of a matrix (M, N): (N,)."""
    out = np.empty(values.shape[1], values.dtype)
    _library.get().sum(values, out)
    return out
