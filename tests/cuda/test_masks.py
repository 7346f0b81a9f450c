"""The mask kernels of the CUDA backend against the reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmask_kernels import reference

from ..cases import MASK_KINDS, make_mask
from ..kernels.test_masks import DTYPES, VALUES, garbage, pool
from .backend import backend

seeds = st.integers(0, 2**32 - 1)
usual = settings(max_examples=25, deadline=None)


def both(name: str, shape: tuple[int, ...], *arguments: Any) -> None:
    """Call the reference's kernel and this backend's, and compare what they wrote."""
    expected, actual = garbage(shape), garbage(shape)
    getattr(reference, name)(expected, *arguments)
    getattr(backend, name)(actual, *arguments)
    np.testing.assert_array_equal(actual, expected)


@given(
    st.sampled_from(DTYPES), st.integers(0, 6), st.integers(0, 40), st.sampled_from(VALUES), seeds
)
@usual
def test_not_equal(dtype: str, batch: int, time: int, value: float, seed: int) -> None:
    ids = np.random.default_rng(seed).choice(pool(dtype), (batch, time))
    both("mask_not_equal", (batch, time), ids, value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: str) -> None:
    ids = pool(dtype)[np.newaxis]
    for value in (0, 1, 0.1, -2.5, math.nan, math.inf, 300):
        both("mask_not_equal", ids.shape, ids, value)
        both("mask_any_not_equal", ids.shape, np.stack([ids, ids], -1), value)


@given(
    st.sampled_from(DTYPES),
    st.integers(0, 4),
    st.integers(0, 9),
    st.sampled_from((0, 1, 2, 3, 8, 31, 32, 33, 64, 70)),
    st.sampled_from(VALUES),
    seeds,
)
@usual
def test_any_not_equal(
    dtype: str, batch: int, time: int, features: int, value: float, seed: int
) -> None:
    """Steps of equal numbers, some with one different feature, anywhere."""
    rng = np.random.default_rng(seed)
    numbers = pool(dtype)
    x = np.repeat(rng.choice(numbers, (batch, time, 1)), features, axis=2)
    for step in x.reshape(batch * time, features):
        if features and rng.random() < 0.5:
            step[rng.integers(features)] = rng.choice(numbers)
    both("mask_any_not_equal", (batch, time), x, value)


@pytest.mark.parametrize("features", [1, 2, 5, 32, 33, 130])
@pytest.mark.parametrize("value", [0.0, math.nan])
def test_any_not_equal_in_many_rounds(features: int, value: float) -> None:
    """More steps than the launch has groups of lanes, with the different feature at every place."""
    x = np.zeros((3, 50, features), np.float32)
    x[np.arange(3)[:, np.newaxis], np.arange(50), np.arange(50) % features] = np.arange(50) % 2
    both("mask_any_not_equal", (3, 50), x, value)


@pytest.mark.parametrize("pre", [False, True])
@pytest.mark.parametrize("time", [0, 1, 9, 64, 65, 300])
def test_from_lengths(time: int, pre: bool) -> None:
    limit = np.iinfo(np.int64)
    lengths = np.array([0, 1, 5, time - 1, time, time + 1, limit.max, limit.min, -1])
    both("mask_from_lengths", (len(lengths), time), lengths, pre)
    both("mask_from_lengths", (0, time), lengths[:0], pre)


def plan(valid: np.ndarray) -> None:
    """Compare a plan with the reference's; nothing beyond it may be touched."""
    batch, time = valid.shape
    plans = []
    for kernels in (reference, backend):
        offsets = np.full(batch + 1, -7)
        steps = np.full(batch * time + 3, -7)
        order = np.full(batch, -7)
        kernels.plan_steps(offsets, steps, order, valid)
        plans.append((offsets, steps[: offsets[-1]], order))
        if kernels is backend:
            assert (steps[offsets[-1] :] == -7).all()
    for expected, actual in zip(*plans, strict=True):
        np.testing.assert_array_equal(actual, expected)


@given(st.sampled_from(MASK_KINDS), st.integers(0, 9), st.integers(0, 40), seeds)
@settings(max_examples=12, deadline=None)
def test_plan(kind: str, batch: int, time: int, seed: int) -> None:
    plan(make_mask(kind, batch, time, np.random.default_rng(seed)))


@pytest.mark.parametrize(("batch", "time"), [(70, 3), (3, 200), (1, 65), (9, 0)])
def test_plan_larger_than_a_launch(batch: int, time: int) -> None:
    plan(make_mask("holes", batch, time, np.random.default_rng(0)))


def test_rows_of_equal_length_keep_their_order() -> None:
    plan(np.tri(12, 3, dtype=bool)[np.arange(12) * 5 % 12])


def test_rows_of_equal_length_in_several_rounds_of_a_warp() -> None:
    """A part of 64 rows or more: what a round wrote to memory, the next one reads."""
    valid = np.zeros((100, 40), bool)
    valid[:, 0] = True
    plan(valid)


def test_plan_needs_room_for_every_step() -> None:
    arrays = np.empty(3, np.int64), np.empty(5, np.int64), np.empty(2, np.int64)
    with pytest.raises(ValueError, match="steps must have room for 6 steps, not 5"):
        backend.plan_steps(*arrays, np.zeros((2, 3), bool))


@pytest.mark.parametrize(
    ("name", "arguments", "error", "words"),
    [
        ("mask_not_equal", (np.zeros((1, 2)), "0"), TypeError, "value must be a number, not '0'"),
        ("mask_not_equal", (np.zeros((1, 2), "c8"), 0), TypeError, "ids must hold.*complex64"),
        ("mask_not_equal", (np.zeros((2, 2)), 0), ValueError, r"ids must have shape.*\(2, 2\)"),
        ("mask_from_lengths", (np.zeros(1), False), TypeError, "lengths must have dtype int64"),
    ],
)
def test_wrong_arguments(
    name: str, arguments: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        getattr(backend, name)(garbage((1, 2)), *arguments)
