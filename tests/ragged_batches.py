"""Ragged batches for tests, and comparisons with the same rows as `Masked`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import fastmask as fm

Array = npt.NDArray[Any]
# With empty rows, with one row, with rows of one step, without rows, and without steps.
LENGTHS = ([6, 4, 0, 2, 1], [3], [1, 1, 1], [], [0, 0], [5, 5])


def ragged_of(x: Array, lengths: Sequence[int], valid: Array | None = None) -> fm.Ragged:
    """The first steps of the rows of x, (B, T, ...)."""
    places = [(b, t) for b, length in enumerate(lengths) for t in range(length)]
    rows, steps = np.array(places, np.int64).reshape(-1, 2).T
    offsets = [0, *np.cumsum(lengths, dtype=np.int64).tolist()]
    return fm.Ragged(x[rows, steps], offsets, None if valid is None else valid[rows, steps])


def quietly(call: Any, *args: Any, **options: Any) -> Any:
    """The result of a call, without warnings about lost masks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return call(*args, **options)


def padded(value: Any) -> Any:
    """The same with `Masked` instead of `Ragged`."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(padded, value))
    return value.to_masked() if isinstance(value, fm.Ragged) else value


def assert_same(one: Any, other: Any, name: str = "", atol: float = 1e-6) -> None:
    """Assert that results of ragged and of padded inputs are equal at all valid steps."""
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other), name
        for pair in zip(one, other, strict=True):
            assert_same(*pair, name, atol)
        return
    if isinstance(one, fm.Ragged):
        data = other.data if isinstance(other, fm.Masked) else other
        steps = np.arange(data.shape[1]) < one.lengths[:, None]
        valid = np.ones(len(one.values), np.bool_) if one.valid is None else one.valid
        if isinstance(other, fm.Masked):
            np.testing.assert_array_equal(valid, other.mask.valid[steps], err_msg=name)
            assert other.mask.lengths.sum() == np.sum(valid), name
        one, other = one.values[valid], data[steps][valid]
    assert one.dtype == other.dtype, name
    np.testing.assert_allclose(one, other, rtol=0, atol=atol, err_msg=name)
