"""pad_rows and unpad_rows of each backend, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmask_kernels import cpu, reference

from ..cases import MASK_KINDS, make_mask
from ..each import EACH_BACKEND
from ..rows import DTYPES, numbers

seeds = st.integers(0, 2**32 - 1)
ends = st.sampled_from(("pre", "post"))


@given(
    st.sampled_from(DTYPES),
    st.integers(0, 6),
    st.integers(0, 9),
    st.sampled_from((0, 1, 2, 5, 16)),
    st.booleans(),
    st.booleans(),
    seeds,
)
@settings(max_examples=200, deadline=None)
def test_pad_rows_equals_reference(
    dtype: Any, batch: int, time: int, features: int, pre_pad: bool, pre_cut: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], rng.integers(0, 12, batch).cumsum()]).astype(np.int64)
    values = numbers(rng, (offsets[-1] + 2, features), dtype)
    value = numbers(rng, (1,), dtype)
    expected, actual = (np.full((batch, time, features), 101).astype(dtype) for _ in range(2))
    reference.pad_rows(expected, values, offsets, value, pre_pad, pre_cut)
    cpu.pad_rows(actual, values, offsets, value, pre_pad, pre_cut)
    np.testing.assert_array_equal(actual, expected)


@given(
    st.sampled_from(DTYPES),
    st.sampled_from(MASK_KINDS),
    st.integers(0, 6),
    st.integers(0, 9),
    st.sampled_from((0, 1, 2, 5, 16)),
    seeds,
)
@settings(max_examples=150, deadline=None)
def test_unpad_rows_equals_reference(
    dtype: Any, kind: str, batch: int, time: int, features: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    valid = make_mask(kind, batch, time, rng)
    padded = numbers(rng, (batch, time, features), dtype)
    steps = np.flatnonzero(valid)
    expected, actual = (np.full((len(steps), features), 101).astype(dtype) for _ in range(2))
    reference.unpad_rows(expected, padded, steps)
    cpu.unpad_rows(actual, padded, steps)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(actual, padded[valid])


@EACH_BACKEND
@pytest.mark.parametrize("offsets", [[0, 2, 1], [-1, 0, 1], [0, 1, 5], [0, 2**62, -(2**62)]])
@pytest.mark.parametrize("time", [0, 3])
def test_pad_rows_refuses_wild_offsets(backend: Any, offsets: list[int], time: int) -> None:
    out, values, value = np.empty((2, time, 1)), np.zeros((4, 1)), np.zeros(1)
    with pytest.raises(ValueError, match=r"offsets must ascend within 0, \.\.\., 4,.*but row"):
        backend.pad_rows(out, values, np.array(offsets), value, True, True)


@EACH_BACKEND
@pytest.mark.parametrize("bad", [-1, 6, 2**62])
def test_unpad_rows_refuses_wild_steps(backend: Any, bad: int) -> None:
    with pytest.raises(ValueError, match=rf"steps must be in \[0, 6\).*steps\[1\] is {bad}$"):
        backend.unpad_rows(np.empty((2, 1)), np.zeros((2, 3, 1)), np.array([5, bad]))
