"""Rows that are Python's lists, or arrays, as steps that follow each other."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

from .._checks import shown
from .._typing import Array, Ints
from ..backends.dispatch import as_array
from ..backends.rows import offsets_of
from ..layers._text import holds_texts
from ..masks.casting import common_dtype
from ..masks.joining import padded, sequences_in

_LARGE = 2.0**63  # the first one that int64 cannot hold


def rows_in_list(rows: Iterable[Any]) -> tuple[Array, Ints]:
    """The steps of all rows, and the offsets of the rows among them.

    Args:
        rows: lists or arrays of steps of one shape.

    Raises:
        TypeError: the steps are not numbers or texts, or have no dtype in common.
        ValueError: a row is not a list of steps, has a null in it, or has steps of another shape.
    """
    batch = sequences_in([_row(row, b) for b, row in enumerate(rows)], None, False, False)
    offsets = offsets_of(np.array(batch.lengths, np.int64))
    filled = [row for row in batch.rows if len(row)]
    if not filled:
        return _no_steps(batch.rows), offsets
    try:
        plain = batch.types <= {list, tuple}
        values = _of_lists(filled) if plain else _of_arrays(filled)
    except (TypeError, ValueError):
        find_fault(batch.rows)
        raise
    if values.dtype.hasobject:
        find_fault(batch.rows)
    return values, offsets


def _row(row: Any, b: int) -> Any:
    if row is None or type(row).__name__ == "NAType" or (isinstance(row, float) and row != row):
        raise ValueError(f"x[{b}] is null")
    if isinstance(row, (str, bytes)) or not np.iterable(row):
        raise ValueError(f"x[{b}] must be a list of steps, not {shown(row)}")
    return row


def _no_steps(rows: list[Any]) -> Array:
    """No steps, with the dtype and shape of rows that are arrays."""
    known = next((row for row in rows if isinstance(row, np.ndarray)), np.zeros(0, np.float32))
    return known[:0]


def _of_lists(rows: list[Any]) -> Array:
    """The steps, of the dtype that `fastmask.pad` gives them."""
    steps = list(chain.from_iterable(rows))
    filler = steps[0]  # never used, because the steps are one row
    try:
        values: Array = padded(sequences_in([steps], None, False, False), None, filler)[0]
    except (ValueError, OverflowError):
        return _large(np.array(steps, object), None)
    if values.dtype == np.float64 and (np.abs(values) >= _LARGE).any():
        return _large(np.array(steps, object), values)
    if values.dtype.kind == "U" and values.ndim == 1 and not all(isinstance(s, str) for s in steps):
        raise TypeError("x must hold numbers or texts, not both")  # NumPy would make texts of both
    return values


def _large(steps: Array, values: Array | None) -> Array:
    """Unsigned 64-bit integers, which NumPy turns into floats beside smaller ones.

    Other steps are returned as `values`, or become floats.
    """
    if all(isinstance(one, (int, np.integer)) for one in steps.ravel().tolist()):
        if steps.min() < 0 or steps.max() >= 2 * _LARGE:
            raise TypeError(
                f"x must hold integers of one dtype, not {steps.min()} beside {steps.max()}"
            )
        return steps.astype(np.uint64)
    return steps.astype(np.float64) if values is None else values


def _of_arrays(rows: list[Any]) -> Array:
    arrays = [_texts(as_array(row, "x")) for row in rows]
    return np.concatenate(arrays, dtype=common_dtype({array.dtype for array in arrays}))


def _texts(array: Array) -> Array:
    """An array of objects that are texts as one of texts."""
    known = array.dtype.hasobject and all(isinstance(one, str) for one in array.ravel().tolist())
    return array.astype(str) if known else array


def find_fault(rows: list[Any], name: str = "x") -> None:
    """Raise an error that names the row at fault, if it is a single row."""
    shape, at = None, 0
    for b, row in enumerate(rows):
        if row is None:
            raise ValueError(f"{name}[{b}] is null")
        if not len(row):
            continue
        array = _texts(np.array(row, object) if holds_texts(row) else as_array(row, f"{name}[{b}]"))
        if array.dtype.hasobject:
            for step, value in enumerate(array):
                if value is None or (np.ndim(value) and None in np.ravel(value).tolist()):
                    raise ValueError(f"{name}[{b}] has a null at step {step}")
            raise TypeError(f"{name}[{b}] must hold numbers or texts, not {shown(row)}")
        if shape not in (None, array.shape[1:]):
            raise ValueError(
                f"{name}[{b}] has steps of shape {array.shape[1:]}, "
                f"but {name}[{at}] of shape {shape}"
            )
        shape, at = array.shape[1:], b
