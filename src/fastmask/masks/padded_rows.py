"""Rows stored one after the other, as one padded array."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .._typing import Array, Ints
from ..backends.table import kernels
from .casting import fill_value


def padded_rows(values: Array, offsets: Ints, time: int, pre: bool, value: Any) -> Array:
    """Rows of values as an array (B, T, ...).

    Args:
        values: (P, ...).
        offsets: (B + 1,).
        time: T, no less than the longest row.
        pre: whether short rows are padded at their beginning.
        value: what to pad with; None for NumPy's zero of the dtype.
    """
    batch, step, dtype = len(offsets) - 1, values.shape[1:], values.dtype
    fill = np.zeros((), dtype) if value is None else fill_value(value, dtype)
    shape = (batch, time, *step)
    out = np.empty(shape, dtype)
    if dtype.hasobject:
        out[...] = fill
        ends = offsets[1:] - time if pre else offsets[:-1]
        places = np.arange(len(values)) - np.repeat(ends, np.diff(offsets))
        out[np.repeat(np.arange(batch), np.diff(offsets)), places] = values
    if dtype.hasobject or not out.size:
        return out
    width = prod(step)
    kernels().pad_rows(
        out.reshape(batch, time, width),
        np.require(values, requirements=["C", "A"]).reshape(-1, width),
        offsets,
        fill.reshape(1),
        pre,
        False,
    )
    return out
