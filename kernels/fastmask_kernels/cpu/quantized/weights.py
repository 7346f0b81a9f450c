"""Quantized weights, as words; see `formats`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import OFFSET, Format

Array = NDArray[np.floating]
LIMIT = 127  # of an int8


def quantized(weights: Array, format: Format) -> tuple[Array, Array, Array]:
    """Convert weights; numbers are rounded to the nearest that the format has.

    Args:
        weights: (K, ...), float32.
        format: the format.

    Returns:
        Words as float32, which is how packed weights are stored, (words of K, ...); the scale of
        each column, (...); and the start value of each column's sums, an int32 viewed as float32,
        (...).

    Raises:
        ValueError: a weight is not finite, where the format has no such numbers.
    """
    shape = weights.shape[1:]
    columns = weights.reshape(len(weights), math.prod(shape))
    factors = starts = np.zeros(columns.shape[1], np.float32)
    whole: Any
    if format.scaled:
        whole, factors = to_int8(columns)
        starts = (-OFFSET * whole.sum(axis=0, dtype=np.int32)).view(np.float32)
    else:
        whole = bfloat16_bits(columns)
    words = _words(whole, format)
    return words.reshape(len(words), *shape), factors.reshape(shape), starts.reshape(shape)


def rounded_rows(table: Array, form: str) -> tuple[NDArray[Any], Array | None]:
    """Rows for quantized look-ups: bits of bfloat16, or int8 with a scale for each row."""
    if form == "bfloat16":
        return bfloat16_bits(table), None
    whole, scales = to_int8(table.T)
    return np.ascontiguousarray(whole.T), scales


def bfloat16_bits(weights: Array) -> NDArray[np.uint16]:
    """The upper halves of float32 numbers, rounded to nearest even."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    quiet = bits >> 16 | 0x40
    return np.where(np.isnan(weights), quiet, rounded).astype(np.uint16)


def to_int8(weights: Array) -> tuple[NDArray[np.int8], Array]:
    """Whole numbers in [-127, 127], and the scale of each column.

    Raises:
        ValueError: a weight is not finite.
    """
    largest = np.abs(weights).max(axis=0, initial=0.0)
    if not np.isfinite(largest).all():
        raise ValueError("weights must be finite to be quantized to int8")
    factors = np.where(largest > 0, largest / LIMIT, 1).astype(np.float32)
    return np.rint(weights / factors).astype(np.int8), factors


def _words(values: Any, format: Format) -> Array:
    """(K, N) numbers as (words of K, N): successive numbers of a column in one word."""
    depth, columns = values.shape
    words = format.words(depth)
    whole = np.zeros((words * format.group, columns), values.dtype)
    whole[:depth] = values
    grouped = whole.reshape(words, format.group, columns).transpose(0, 2, 1)
    return np.ascontiguousarray(grouped).view(np.float32).reshape(words, columns)
