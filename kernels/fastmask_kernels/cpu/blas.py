"""Large matrix products, left to a library: NumPy's BLAS, or that of the calling framework.

A framework's own products run in the threads that it already has; a second library beside it
would bring its own, and on as many processors as threads they would keep each other waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Product = Callable[[Array, Array, Array], Any]
"""Writes a @ b to its third argument."""


def _by_numpy(a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b, out=out)


class _Context(threading.local):
    product: Product = staticmethod(_by_numpy)


_context = _Context()


@contextmanager
def products_by(product: Product) -> Iterator[None]:
    """Products within, in this thread, are done by `product`."""
    before = _context.product
    _context.product = product
    try:
        yield
    finally:
        _context.product = before


def multiply(a: Array, b: Array, out: Array | None = None) -> Array:
    """a @ b.

    Args:
        a: (M, K).
        b: (K, N).
        out: (M, N), written; a new array by default.

    Returns:
        `out`, or the new array.
    """
    if out is None:
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    if a.shape[1] and out.size:
        _context.product(a, b, out)
    else:
        out[...] = 0
    return out
