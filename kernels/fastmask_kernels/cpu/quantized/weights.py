"""Weights of fewer bits, as words; see `formats`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .formats import BFLOAT16, OFFSET, Format

Array = NDArray[np.floating]
LIMIT = 127  # of an int8


class Quantized(NamedTuple):
    """A matrix (K, N) in a format.

    Attributes:
        words: (words of K, N) as float32, which is how packed weights are stored.
        factors: (N,) scale of each column.
        away: (N,) as float32: the int32 to take away from the sums of a column.
    """

    words: Array
    factors: Array
    away: Array


def quantize(weights: Array, format: Format) -> Quantized:
    """Convert a matrix; its numbers are rounded to the nearest that the format has.

    Args:
        weights: (K, N), float32.
        format: the format.

    Raises:
        ValueError: a weight is not finite, where the format has no such numbers.
    """
    if format is BFLOAT16:
        words = _words(bfloat16_bits(weights), format)
        return Quantized(words, np.ones(weights.shape[1], np.float32), _no_words(weights))
    whole, factors = to_int8(weights)
    away = OFFSET * whole.sum(axis=0, dtype=np.int32)
    return Quantized(_words(whole, format), factors, away.view(np.float32))


def _no_words(weights: Array) -> Array:
    return np.zeros(weights.shape[1], np.float32)


def bfloat16_bits(weights: Array) -> NDArray[np.uint16]:
    """The upper halves of float32 numbers, rounded to nearest, to even."""
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
    whole = np.zeros((format.words(depth) * format.group, columns), values.dtype)
    whole[:depth] = values
    grouped = whole.reshape(-1, format.group, columns).transpose(0, 2, 1)
    return np.ascontiguousarray(grouped).view(np.float32)[..., 0]
