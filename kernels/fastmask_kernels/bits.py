"""Numbers seen as bits, so that a kernel for each item size serves every dtype.

Copies need only words that tile an item. Comparisons need a pattern (keep, bits, some), the one
that a number equal to `value` must show:

    x == value  <=>  (x & keep) == bits, and (x & some) != 0 unless some is 0

where keep is all ones, except for a zero of floats: there it hides the sign, because -0 is 0. Only
NaN has `some`: it has all bits of infinity, and at least one in its fraction. As a value NaN equals
itself, because that is what users mean who mark missing values with NaN. A value that no number of
the dtype equals (0.5 or 300 for int8, NaN for all integers) has no pattern.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}


def word_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The widest unsigned integer that tiles items of `dtype` at its alignment."""
    return WORDS[math.gcd(dtype.itemsize, dtype.alignment, 8)]


def pattern_of(dtype: np.dtype[Any], value: float, name: str) -> NDArray[Any] | None:
    """(keep, bits, some), unsigned and of the dtype's size, or None where nothing is equal.

    Raises:
        TypeError: `value` is not a number, or `dtype`, of the array `name`, is not numeric.
    """
    if not isinstance(value, (int, float)):
        if not isinstance(value, (np.bool_, np.integer, np.floating)):
            raise TypeError(f"value must be a number, not {value!r}")
        value = float(value) if isinstance(value, np.floating) else int(value)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise TypeError(f"{name} must hold bool, integers or floats up to 64 bits, not {dtype}")
    return _pattern_of(dtype, value)


@lru_cache(maxsize=64)
def _pattern_of(dtype: np.dtype[Any], value: float) -> NDArray[Any] | None:
    same = _representation(dtype, value)
    if same is None:
        return None
    word = f"u{dtype.itemsize}"
    keep, some = ~np.zeros((), word), np.zeros((), word)
    if dtype.kind == "f" and same == 0:
        keep = ~np.array(-0.0, dtype).view(word)
    if dtype.kind == "f" and np.isnan(same):
        keep = np.array(np.inf, dtype).view(word)
        some = ~np.array(-np.inf, dtype).view(word)
    pattern = np.array([keep, same.view(word) & keep, some], word)
    pattern.flags.writeable = False
    return pattern


def _representation(dtype: np.dtype[Any], value: float) -> NDArray[Any] | None:
    """The number of `dtype` that equals `value`, if there is one."""
    if dtype.kind == "f":
        try:
            with np.errstate(over="ignore"):
                same = np.array(float(value)).astype(dtype)
        except OverflowError:  # an integer beyond float64
            return None
        if np.isinf(same) and not math.isinf(value):
            return None
        return same
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if low <= value <= high and int(value) == value:
        return np.array(int(value), dtype)
    return None
