"""gather_rows, the embedding look-up, of both backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmask_kernels import cpu, reference

from ..each import EACH_BACKEND
from ..rows import DTYPES, numbers


@given(
    st.sampled_from(DTYPES),
    st.integers(1, 5),
    st.sampled_from((0, 1, 2, 3, 7, 8, 33)),
    st.integers(0, 9),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_gather_equals_reference(
    dtype: Any, vocabulary: int, features: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table = numbers(rng, (vocabulary, features), dtype)
    ids = rng.integers(0, vocabulary, count)
    expected, actual = (np.full((count, features), 101).astype(dtype) for _ in range(2))
    reference.gather_rows(expected, table, ids)
    cpu.gather_rows(actual, table, ids)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(actual, table[ids])


@EACH_BACKEND
@pytest.mark.parametrize("bad", [-1, 4, 2**40, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("features", [0, 1, 20])
def test_ids_out_of_range(backend: Any, bad: int, features: int) -> None:
    ids = np.array([0, 3, bad, 1])
    words = rf"ids must be in \[0, 4\), the rows of table, but ids\[2\] is {bad}$"
    with pytest.raises(ValueError, match=words):
        backend.gather_rows(np.empty((4, features)), np.zeros((4, features)), ids)


@EACH_BACKEND
def test_empty_table(backend: Any) -> None:
    backend.gather_rows(np.empty((0, 3)), np.empty((0, 3)), np.empty(0, np.int64))
    with pytest.raises(ValueError, match=r"ids must be in \[0, 0\).*ids\[0\] is 0"):
        backend.gather_rows(np.empty((1, 3)), np.empty((0, 3)), np.zeros(1, np.int64))


@EACH_BACKEND
def test_nan_and_signed_zero_are_copied_as_they_are(backend: Any) -> None:
    table = np.array([[np.nan, -0.0], [np.inf, 0.0]], np.float32)
    out = np.ones((2, 2), np.float32)
    backend.gather_rows(out, table, np.array([1, 0]))
    assert out.tobytes() == table[::-1].tobytes()


@EACH_BACKEND
def test_read_only_inputs(backend: Any) -> None:
    table, ids = np.arange(4.0).reshape(2, 2), np.array([1])
    table.flags.writeable = ids.flags.writeable = False
    out = np.empty((1, 2))
    backend.gather_rows(out, table, ids)
    assert out.tolist() == [[2.0, 3.0]]


@EACH_BACKEND
@pytest.mark.parametrize(
    ("table", "ids", "error", "words"),
    [
        (np.zeros((4, 2), "f4"), np.zeros(3, int), TypeError, "table must have dtype float64"),
        (np.zeros((4, 3)), np.zeros(3, int), ValueError, r"table must have shape .*F=2.*\(4, 3\)"),
        (np.zeros((4, 2)), np.zeros(2, int), ValueError, r"ids must have shape .*N=3.*\(2,\)"),
        (np.zeros((4, 2)), np.zeros(3, "i4"), TypeError, "ids must have dtype int64, not int32"),
        (np.zeros((4, 2)), np.zeros(3), TypeError, "ids must have dtype int64, not float64"),
        (np.zeros((4, 4))[:, ::2], np.zeros(3, int), ValueError, "table must be C-contiguous"),
        ([[0.0, 0.0]], np.zeros(3, int), TypeError, "table must be a NumPy array, not list"),
    ],
)
def test_wrong_arguments(
    backend: Any, table: Any, ids: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        backend.gather_rows(np.empty((3, 2)), table, ids)
