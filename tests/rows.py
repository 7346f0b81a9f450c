"""Rows of random lengths and any dtype, and a plain implementation of padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = (
    *("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g", "c8", "c16"),
    *(">i4", ">f8", "M8[ns]", "m8[s]", "U3", "S5", [("a", "i1"), ("b", "f4")]),
)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Random values of any dtype."""
    return rng.integers(0, 100, shape).astype(dtype)


def arrays(
    rng: np.random.Generator, batch: int, longest: int, dtype: Any, step: tuple[int, ...] = ()
) -> list[NDArray[Any]]:
    """Rows of random length and values."""
    return [numbers(rng, (n, *step), dtype) for n in rng.integers(0, longest + 1, batch)]


def one_by_one(
    rows: list[NDArray[Any]], maxlen: int | None, padding: str, truncating: str, value: Any
) -> NDArray[Any]:
    """Pad row by row; all rows have one dtype and step shape."""
    time = max(map(len, rows)) if maxlen is None else maxlen
    out = np.full((len(rows), time, *rows[0].shape[1:]), value, rows[0].dtype)
    for target, row in zip(out, rows, strict=True):
        cut = row[max(len(row) - time, 0) :] if truncating == "pre" else row[:time]
        start = time - len(cut) if padding == "pre" else 0
        target[start : start + len(cut)] = cut
    return out
