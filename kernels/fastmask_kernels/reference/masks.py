"""Masks and their plans, written for reading.

A mask says which steps exist. Its plan says the same as positions: row b owns
steps[offsets[b]:offsets[b + 1]], each a flat position b * T + t, and `order` lists the rows,
most valid steps first; rows of equal length keep their order.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import checked

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@checked
def mask_not_equal(valid: Bools, ids: NDArray[Any], value: float) -> None:
    """See `spec`."""
    valid[:] = _differs(ids, value, "ids")


@checked
def mask_any_not_equal(valid: Bools, x: NDArray[Any], value: float) -> None:
    """See `spec`."""
    valid[:] = _differs(x, value, "x").any(axis=-1)


@checked
def mask_from_lengths(valid: Bools, lengths: Ints, pre: bool) -> None:
    """See `spec`; lengths outside 0 to T count as the nearer of the two."""
    time = valid.shape[1]
    for b, length in enumerate(lengths.clip(0, time)):
        start = time - length if pre else 0
        valid[b] = False
        valid[b, start : start + length] = True


@checked
def plan_steps(offsets: Ints, steps: Ints, order: Ints, valid: Bools) -> None:
    """See `spec`."""
    if len(steps) < valid.size:
        raise ValueError(f"steps must have room for {valid.size} steps, not {len(steps)}")
    lengths = valid.sum(axis=1)
    offsets[0] = 0
    offsets[1:] = np.cumsum(lengths)
    steps[: offsets[-1]] = np.flatnonzero(valid)
    order[:] = np.argsort(-lengths, kind="stable")


def _differs(x: NDArray[Any], value: float, name: str) -> Bools:
    """Where x != value; NaN equals itself, and for floats `value` is rounded to their dtype."""
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold bool, integers or floats up to 64 bits, not {x.dtype}")
    if isinstance(value, (bool, int, np.bool_, np.integer)):
        value = int(value)
    elif isinstance(value, (float, np.floating)):
        value = float(value)
    else:
        raise TypeError(f"value must be a number, not {value!r}")
    if x.dtype.kind != "f":
        if x.dtype.kind == "b":
            x = x.astype(np.uint8)
        whole = isinstance(value, float) and value.is_integer()
        return np.asarray(x != (int(value) if whole else value))
    if value != value:  # NaN; an integer may be too large for math.isnan
        return np.asarray(~np.isnan(x))
    if sys.float_info.max < abs(value) < math.inf:  # an integer beyond float64
        return np.ones(x.shape, bool)
    with np.errstate(over="ignore"):
        nearest = np.float64(value).astype(x.dtype)
    if np.isinf(nearest) and abs(value) < math.inf:
        return np.ones(x.shape, bool)
    return np.asarray(x != nearest)
