"""`pad` and `unpad`, which are inverses of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmask as fm

from .cases import MASK_KINDS, make_mask
from .rows import arrays

seeds = st.integers(0, 2**32 - 1)
ends = st.sampled_from(("pre", "post"))


@given(
    st.sampled_from(("i4", "i8", "u1", "f4", "f8", "?", "c8", "U3")),
    st.integers(0, 6),
    st.sampled_from((None, 0, 3, 12)),
    st.sampled_from(((), (3,), (2, 2))),
    ends,
    ends,
    seeds,
)
@settings(max_examples=150, deadline=None)
def test_unpad_undoes_pad(
    dtype: str,
    batch: int,
    maxlen: int | None,
    step: tuple[int, ...],
    padding: str,
    truncating: str,
    seed: int,
) -> None:
    rows = arrays(np.random.default_rng(seed), batch, 6, dtype, step)
    value = "" if dtype == "U3" else 0
    masked = fm.pad(rows, maxlen, dtype, padding, truncating, value)
    kept = rows
    if maxlen is not None:
        kept = [
            row[max(len(row) - maxlen, 0) :] if truncating == "pre" else row[:maxlen]
            for row in rows
        ]
    assert masked.dtype == dtype
    assert masked.mask.lengths.tolist() == [len(row) for row in kept]
    back = fm.unpad(masked)
    assert len(back) == batch
    for row, wanted in zip(back, kept, strict=True):
        np.testing.assert_array_equal(row, wanted)
        assert row.dtype == dtype


@given(st.sampled_from(MASK_KINDS), st.integers(0, 6), st.integers(0, 9), st.booleans(), seeds)
@settings(max_examples=100, deadline=None)
def test_unpad_with_any_mask(kind: str, batch: int, time: int, features: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    valid = make_mask(kind, batch, time, rng)
    data = rng.random((batch, time, 2) if features else (batch, time))
    rows = fm.unpad(fm.Masked(data, valid))
    for row, values, steps in zip(rows, data, valid, strict=True):
        np.testing.assert_array_equal(row, values[steps])


def test_unpad_copies_data_of_any_layout() -> None:
    valid = np.array([[1, 0], [1, 1]], bool)
    data = np.asfortranarray(np.arange(8, dtype=">i4").reshape(2, 2, 2))
    data.flags.writeable = False
    first, second = fm.unpad(fm.Masked(data, valid))
    assert first.tolist() == [[0, 1]]
    assert second.tolist() == [[4, 5], [6, 7]]
    second[:] = 0
    assert data.max() == 7
    words = np.array([["a", None], ["b", "c"]], object)
    assert [row.tolist() for row in fm.unpad(fm.Masked(words, valid))] == [["a"], ["b", "c"]]


@pytest.mark.parametrize(
    ("sequences", "dtype"),
    [
        ([[1], [2, 3]], "int64"),
        ([[1], [2.5]], "float64"),
        ([[1.5], [2]], "float64"),
        ([[True], [False]], "bool"),
        ([[True], [2]], "int64"),
        ([[2**63]], "uint64"),
        ([np.ones(1, "f4"), np.ones(2, "f4")], "float32"),
        ([np.ones(1, "f4"), np.ones(2, "f8")], "float64"),
        ([np.ones(1, "f4"), np.ones(2, "i2")], "float32"),
        ([np.ones(1, "f4"), []], "float32"),
        ([np.ones(1, "i1"), np.ones(2, "u1")], "int16"),
        ([np.ones(1, ">i4")], "int32"),
        ([], "float64"),
    ],
)
def test_pad_takes_the_dtype_of_the_sequences(sequences: list[Any], dtype: str) -> None:
    masked = fm.pad(sequences)
    assert masked.dtype == dtype
    assert masked.shape[0] == len(sequences)


def test_pad_defaults() -> None:
    masked = fm.pad([[1, 2, 3], [4], []], maxlen=2)
    assert masked.data.tolist() == [[1, 2], [4, 0], [0, 0]]
    assert masked.mask.valid.tolist() == [[True, True], [True, False], [False, False]]
    masked = fm.pad([[1, 2, 3], [4]], padding="pre", truncating="pre", maxlen=2, value=9)
    assert masked.data.tolist() == [[2, 3], [9, 4]]
    assert masked.mask.valid.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        ([["a"], [1]], "dtype must be given: sequences hold <U1, int64"),
        ([np.ones(1, "u8"), np.ones(1, "i8")], "dtype must be given: sequences hold int64, uint64"),
        ([[2**70]], "dtype must be given: sequences hold object"),
    ],
)
def test_pad_without_a_common_dtype(sequences: list[Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        fm.pad(sequences)


@pytest.mark.parametrize("wrong", [np.ones((2, 3)), [[1]], None])
def test_unpad_takes_masked_only(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"masked must be a fastmask\.Masked, not"):
        fm.unpad(wrong)
