"""Memory whose vectors do not straddle cache lines."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

CACHE_LINE = 64  # bytes


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Uninitialised array that begins on a cache line.

    Weights packed into such memory are read in half the time when few rows share them:
    a vector of 64 bytes that straddles two lines costs two loads.
    """
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    array: NDArray[Any] = memory[start : start + size].view(dtype).reshape(shape)
    return array
