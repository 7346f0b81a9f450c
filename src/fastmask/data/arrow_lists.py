"""Rows as Arrow's lists, by pyarrow."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import numpy as np

from .._typing import Array, Ints
from ..masks.ragged import Ragged

_MOST = np.iinfo(np.int32).max


def pyarrow() -> Any:
    """The module.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to install it.
    """
    try:
        return import_module("pyarrow")
    except ModuleNotFoundError as error:
        message = "Arrow arrays need pyarrow: pip install pyarrow"
        raise ModuleNotFoundError(message, name=error.name) from error


def large_lists(values: Array, offsets: Ints) -> Any:
    """Rows with offsets of 64 bits, in the memory of the arrays where these are contiguous."""
    pa = pyarrow()
    steps = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        steps = pa.FixedSizeListArray.from_arrays(steps, size)
    return pa.LargeListArray.from_arrays(pa.array(offsets), steps)


def column(values: Array | Ragged | list[Any]) -> Any:
    """A column of values, or of lists of values of one shape.

    Lists have offsets of 32 bits where these are enough, and steps are lists like others: not
    every program that reads Arrow or Parquet takes more.
    """
    if isinstance(values, list):
        return pyarrow().array(values)
    if not isinstance(values, Ragged):
        return _nested(values)
    return _lists(values.offsets, _nested(values.values))


def _nested(values: Array) -> Any:
    """An array (B, ...) with a list for each axis but the first one."""
    steps = pyarrow().array(np.ascontiguousarray(values).reshape(-1))
    for axis in range(values.ndim - 1, 0, -1):
        count = math.prod(values.shape[:axis])
        steps = _lists(np.arange(count + 1) * values.shape[axis], steps)
    return steps


def _lists(offsets: Ints, steps: Any) -> Any:
    pa = pyarrow()
    if offsets[-1] > _MOST:
        return pa.LargeListArray.from_arrays(pa.array(offsets), steps)
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), steps)
