"""pad_rows, unpad_rows and gather_rows of the CUDA backend against the reference."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmask_kernels import cuda, reference
from fastmask_kernels.cuda import gather
from fastmask_kernels.cuda.runtime import device as _device
from fastmask_kernels.cuda.runtime import errors as faults

from ..cases import MASK_KINDS, make_mask
from ..rows import DTYPES, numbers
from .backend import backend

seeds = st.integers(0, 2**32 - 1)
widths = st.sampled_from((0, 1, 2, 5, 16, 33, 70))
usual = settings(max_examples=25, deadline=None)


def outputs(shape: tuple[int, ...], dtype: Any) -> list[np.ndarray]:
    """Two arrays filled with a number that is in none of the inputs."""
    return [np.full(shape, 101).astype(dtype) for _ in range(2)]


def good_ids() -> Any:
    return _device.to_device(np.array([3, 0]))


def pad(
    rng: np.random.Generator, dtype: Any, shape: tuple[int, int, int], pre_pad: bool, pre_cut: bool
) -> None:
    """Pad random rows, some longer than T, with steps in `values` that belong to no row."""
    batch, time, features = shape
    offsets = np.concatenate([[0], rng.integers(0, time + 4, batch).cumsum()]).astype(np.int64)
    values, value = numbers(rng, (offsets[-1] + 2, features), dtype), numbers(rng, (1,), dtype)
    expected, actual = outputs(shape, dtype)
    reference.pad_rows(expected, values, offsets, value, pre_pad, pre_cut)
    backend.pad_rows(actual, values, offsets, value, pre_pad, pre_cut)
    np.testing.assert_array_equal(actual, expected)


@given(
    st.sampled_from(DTYPES),
    st.integers(0, 6),
    st.integers(0, 9),
    widths,
    st.booleans(),
    st.booleans(),
    seeds,
)
@usual
def test_pad_rows(
    dtype: Any, batch: int, time: int, features: int, pre_pad: bool, pre_cut: bool, seed: int
) -> None:
    pad(np.random.default_rng(seed), dtype, (batch, time, features), pre_pad, pre_cut)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pad_rows_of_every_dtype(dtype: Any) -> None:
    pad(np.random.default_rng(0), dtype, (5, 6, 3), True, False)


@given(st.sampled_from(DTYPES), st.sampled_from(MASK_KINDS), st.integers(0, 6), widths, seeds)
@usual
def test_unpad_rows(dtype: Any, kind: str, batch: int, features: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    valid = make_mask(kind, batch, 7, rng)
    padded = numbers(rng, (batch, 7, features), dtype)
    _, actual = outputs((valid.sum(), features), dtype)
    backend.unpad_rows(actual, padded, np.flatnonzero(valid))
    np.testing.assert_array_equal(actual, padded[valid])


@given(st.sampled_from(DTYPES), st.integers(1, 5), widths, st.integers(0, 70), seeds)
@usual
def test_gather_rows(dtype: Any, vocabulary: int, features: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, ids = numbers(rng, (vocabulary, features), dtype), rng.integers(0, vocabulary, count)
    _, actual = outputs((count, features), dtype)
    backend.gather_rows(actual, table, ids)
    np.testing.assert_array_equal(actual, table[ids])


def test_nan_and_signed_zero_are_copied_as_they_are() -> None:
    table = np.array([[np.nan, -0.0], [np.inf, 0.0]], np.float32)
    out = np.ones((2, 2), np.float32)
    backend.gather_rows(out, table, np.array([1, 0]))
    assert out.tobytes() == table[::-1].tobytes()


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_addresses_that_no_wide_word_fits(start: int) -> None:
    table = np.arange(start + 24, dtype=np.int16)[start:].reshape(3, 8)
    out = np.zeros((4, 8), np.int16)
    backend.gather_rows(out, table, np.array([2, 0, 1, 1]))
    np.testing.assert_array_equal(out, table[[2, 0, 1, 1]])


@pytest.mark.parametrize("bad", [-1, 4, 2**40, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("features", [0, 1, 20])
def test_ids_out_of_range(bad: int, features: int) -> None:
    out = np.zeros((4, features))
    words = r"ids must be in \[0, 4\), the rows of table, but ids\[[23]\] is not"
    with pytest.raises(ValueError, match=words):
        backend.gather_rows(out, np.ones((4, features)), np.array([0, 3, bad, bad]))
    assert np.isnan(out[2:]).all(), "rows that do not exist are no numbers"
    assert (out[:2] == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_do_not_exist(dtype: Any) -> None:
    """Floats become NaN, other dtypes zeros."""
    out = np.ones((2, 3)).astype(dtype)
    with pytest.raises(ValueError, match=r"ids\[1\]"):
        backend.gather_rows(out, np.ones((1, 3)).astype(dtype), np.array([0, 1]))
    assert (out[0] == np.ones(3).astype(dtype)).all()
    assert np.isnan(out[1]).all() if out.dtype.kind in "fc" else not out[1].view("u1").any()


@pytest.mark.parametrize("bad", [-1, 6, 2**62])
def test_steps_out_of_range(bad: int) -> None:
    with pytest.raises(ValueError, match=r"steps must be in \[0, 6\).*steps\[1\] is not"):
        backend.unpad_rows(np.empty((2, 1)), np.zeros((2, 3, 1)), np.array([5, bad]))


@pytest.mark.parametrize("offsets", [[0, 2, 1], [-1, 0, 1], [0, 1, 5], [0, 2**62, -(2**62)]])
@pytest.mark.parametrize("time", [0, 3])
def test_pad_rows_refuses_wild_offsets(offsets: list[int], time: int) -> None:
    out, values, value = np.zeros((2, time, 1)), np.zeros((4, 1)), np.zeros(1)
    words = r"offsets must ascend within 0, \.\.\., 4,.*but those of row [01] do not"
    with pytest.raises(ValueError, match=words):
        backend.pad_rows(out, values, np.array(offsets), value, True, True)
    assert np.isnan(out).any() or not time


def test_a_bad_index_is_told_of_later() -> None:
    """Reported by the next call, once, to the calling thread."""
    table, ids = _device.to_device(np.ones((4, 2))), _device.to_device(np.array([1, 9]))
    out = _device.empty((2, 2), "f8")
    cuda.gather_rows(out, table, ids)
    _device.wait()
    with ThreadPoolExecutor(1) as other:
        other.submit(cuda.gather_rows, _device.empty((2, 2), "f8"), table, good_ids()).result()
        other.submit(cuda.check_indices).result()
    words = r"ids\[1\] is not \(reported by the device after the call of gather_rows\)"
    with pytest.raises(ValueError, match=words):
        cuda.gather_rows(out, table, good_ids())
    cuda.gather_rows(out, table, good_ids())
    cuda.check_indices()
    assert (_device.to_host(out) == 1).all()


def test_each_bad_call_has_its_own_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is remembered; the numbering of calls wraps around."""
    for module in (faults, gather):
        monkeypatch.setattr(module, "CALLS", 4)
    gather._copy_rows.cache_clear()
    table, ids = _device.to_device(np.ones((4, 2))), _device.to_device(np.array([0, 7]))
    out = _device.empty((2, 2), "f8")
    for call in range(9):
        gather.copy_rows(out, table, ids, 4, f"call {call}, place {{}}".format)
        with pytest.raises(ValueError, match=f"^call {call}, place 1$"):
            cuda.check_indices()
    gather._copy_rows.cache_clear()


def test_empty_table() -> None:
    backend.gather_rows(np.empty((0, 3)), np.empty((0, 3)), np.empty(0, np.int64))
    with pytest.raises(ValueError, match=r"ids must be in \[0, 0\).*ids\[0\] is not"):
        backend.gather_rows(np.empty((1, 3)), np.empty((0, 3)), np.zeros(1, np.int64))
