"""The mask kernels of the CPU backend against the reference, and both against known results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fastmask_kernels import cpu, reference

from ..cases import MASK_KINDS, make_mask
from ..each import EACH_BACKEND

INTEGERS = tuple(f"{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8))
FLOATS = ("f2", "f4", "f8", ">f4")
DTYPES = ("?", *INTEGERS, ">i4", *FLOATS)
VALUES = (
    *(0, 1, -1, 2, 127, 128, 300, 2**31, 2**40, 2**63, -(2**63), 2**64, 10**400, True, False),
    *(0.0, -0.0, 1.0, 0.5, 0.1, 1.5, -2.5, 65504.0, 65519.0, 1e300, math.nan, math.inf, -math.inf),
    *(np.float32(0.1), np.int8(1), np.uint64(2**63), np.bool_(True)),
)


def pool(dtype: str) -> NDArray[Any]:
    """A few numbers of a dtype: usual ones, extreme ones, and some that equal a value above."""
    known = np.dtype(dtype)
    if known.kind == "b":
        return np.array([False, True])
    if known.kind == "f":
        limit = np.finfo(known)
        numbers = [0.0, -0.0, 1.0, 0.5, 0.1, -2.5, np.nan, np.inf, -np.inf, limit.max, limit.tiny]
        return np.array(numbers, known)
    limit = np.iinfo(known)
    return np.array([0, 1, 2, 127, limit.min, limit.max], known)


def garbage(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """An output filled with alternating True and False before a kernel runs."""
    return (np.arange(math.prod(shape)) % 2 == 0).reshape(shape)


def both(name: str, shape: tuple[int, ...], *arguments: Any) -> None:
    """Call both backends' kernel and compare what they wrote."""
    expected, actual = garbage(shape), garbage(shape)
    getattr(reference, name)(expected, *arguments)
    getattr(cpu, name)(actual, *arguments)
    np.testing.assert_array_equal(actual, expected)


sizes = st.integers(0, 6)
values = st.sampled_from(VALUES)
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**32 - 1)


@given(dtypes, sizes, sizes, values, seeds)
@settings(max_examples=200, deadline=None)
def test_not_equal_equals_reference(
    dtype: str, batch: int, time: int, value: float, seed: int
) -> None:
    ids = np.random.default_rng(seed).choice(pool(dtype), (batch, time))
    both("mask_not_equal", (batch, time), ids, value)


@given(dtypes, sizes, sizes, st.sampled_from((0, 1, 2, 3, 64, 65, 66, 130)), values, seeds)
@settings(max_examples=200, deadline=None)
def test_any_not_equal_equals_reference(
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


@EACH_BACKEND
@pytest.mark.parametrize("features", [1, 2, 64, 65, 66, 129, 130, 200])
def test_one_other_feature_is_seen_wherever_it_stands(backend: Any, features: int) -> None:
    x = np.zeros((1, features + 1, features), np.float32)
    x[0, np.arange(features), np.arange(features)] = 1  # not in the last step
    valid = garbage((1, features + 1))
    backend.mask_any_not_equal(valid, x, 0.0)
    assert valid.tolist() == [[True] * features + [False]]


@given(hnp.arrays(np.int64, st.integers(0, 6), elements=st.integers(-3, 9)), sizes, st.booleans())
@settings(max_examples=100, deadline=None)
def test_from_lengths_equals_reference(lengths: NDArray[np.int64], time: int, pre: bool) -> None:
    both("mask_from_lengths", (len(lengths), time), lengths, pre)


@EACH_BACKEND
def test_lengths_out_of_range_count_as_the_nearest(backend: Any) -> None:
    lengths = np.array([-1, np.iinfo(np.int64).min, 4, np.iinfo(np.int64).max])
    for pre in (False, True):
        valid = garbage((4, 3))
        backend.mask_from_lengths(valid, lengths, pre)
        assert valid.tolist() == [[False] * 3] * 2 + [[True] * 3] * 2


@given(st.sampled_from(MASK_KINDS), st.integers(0, 9), st.integers(0, 20), seeds)
@settings(max_examples=150, deadline=None)
def test_plan_equals_reference(kind: str, batch: int, time: int, seed: int) -> None:
    valid = make_mask(kind, batch, time, np.random.default_rng(seed))
    plans = []
    for backend in (reference, cpu):
        offsets = np.full(batch + 1, -7)
        steps = np.full(batch * time + 3, -7)
        order = np.full(batch, -7)
        backend.plan_steps(offsets, steps, order, valid)
        assert (steps[batch * time :] == -7).all()
        plans.append((offsets, steps[: offsets[-1]], order))
    for expected, actual in zip(*plans, strict=True):
        np.testing.assert_array_equal(actual, expected)


@EACH_BACKEND
def test_plan_of_a_known_mask(backend: Any) -> None:
    valid = np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 1]], bool)
    offsets, steps, order = np.empty(5, np.int64), np.empty(16, np.int64), np.empty(4, np.int64)
    backend.plan_steps(offsets, steps, order, valid)
    assert offsets.tolist() == [0, 2, 2, 6, 8]
    assert steps[:8].tolist() == [1, 3, 8, 9, 10, 11, 12, 15]
    assert order.tolist() == [2, 0, 3, 1]


@EACH_BACKEND
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("features", [1, 2, 70])
def test_nan_equals_nan_alone(backend: Any, dtype: str, features: int) -> None:
    numbers = [np.nan, 0.0, -0.0, np.inf, -np.inf, np.finfo(dtype).max, np.finfo(dtype).tiny]
    x = np.repeat(np.array(numbers, dtype)[None, :, None], features, axis=2)
    for nan in (math.nan, -math.nan, np.float32("nan")):
        valid, of_ids = garbage((1, 7)), garbage((1, 7))
        backend.mask_any_not_equal(valid, x, nan)
        backend.mask_not_equal(of_ids, np.ascontiguousarray(x[:, :, 0]), nan)
        assert valid.tolist() == of_ids.tolist() == [[False] + [True] * 6]
    for pattern in (0x7F800001, 0xFFC00001, 0xFFFFFFFF):  # other NaNs, with either sign
        other = np.full((1, 1, features), pattern, np.uint32).view(np.float32)
        valid = garbage((1, 1))
        backend.mask_any_not_equal(valid, other, math.nan)
        assert valid.tolist() == [[False]]
    valid = garbage((1, 7))
    backend.mask_any_not_equal(valid, x, 0.0)
    assert valid.tolist() == [[True, False, False, True, True, True, True]]


@EACH_BACKEND
def test_one_number_beside_nan_is_valid(backend: Any) -> None:
    x = np.full((1, 2, 40), np.nan, np.float32)
    x[0, 1, 33] = 0
    valid = garbage((1, 2))
    backend.mask_any_not_equal(valid, x, math.nan)
    assert valid.tolist() == [[False, True]]


@EACH_BACKEND
@pytest.mark.parametrize("value", [0.5, 300, -129, math.nan, math.inf, 2**70])
def test_values_that_no_id_has(backend: Any, value: float) -> None:
    ids = np.arange(-128, 128, dtype=np.int8).reshape(2, 128)
    valid = garbage(ids.shape)
    backend.mask_not_equal(valid, ids, value)
    assert valid.all()


@EACH_BACKEND
@pytest.mark.parametrize("value", [1e300, -1e300, 10**400, math.inf])
def test_only_infinity_equals_infinity(backend: Any, value: float) -> None:
    ids = np.array([[np.inf, -np.inf, np.finfo(np.float32).max]], np.float32)
    valid = garbage(ids.shape)
    backend.mask_not_equal(valid, ids, value)
    assert valid.tolist() == [[value != math.inf, True, True]]


@EACH_BACKEND
def test_value_is_rounded_to_the_floats_of_the_array(backend: Any) -> None:
    ids = np.array([[0.1, 0.2]], np.float32)
    valid = garbage(ids.shape)
    backend.mask_not_equal(valid, ids, 0.1)
    assert valid.tolist() == [[False, True]]


@EACH_BACKEND
def test_read_only_inputs(backend: Any) -> None:
    ids, valid = np.array([[0, 3]]), garbage((1, 2))
    ids.flags.writeable = False
    backend.mask_not_equal(valid, ids, 0)
    assert valid.tolist() == [[False, True]]
    valid.flags.writeable = False
    offsets, steps, order = np.empty(2, np.int64), np.empty(2, np.int64), np.empty(1, np.int64)
    backend.plan_steps(offsets, steps, order, valid)
    assert steps[: offsets[-1]].tolist() == [1]


@EACH_BACKEND
@pytest.mark.parametrize(
    ("name", "arguments", "error", "words"),
    [
        ("mask_not_equal", (np.zeros((1, 2)), "0"), TypeError, "value must be a number, not '0'"),
        ("mask_not_equal", (np.zeros((1, 2)), None), TypeError, "value must be a number, not None"),
        ("mask_not_equal", (np.zeros((1, 2)), 1j), TypeError, "value must be a number, not 1j"),
        ("mask_not_equal", (np.zeros((1, 2), "c8"), 0), TypeError, "ids must hold.*complex64"),
        ("mask_not_equal", (np.zeros((1, 2), "U1"), 0), TypeError, "ids must hold.*<U1"),
        ("mask_not_equal", (np.zeros((1, 2), "M8[s]"), 0), TypeError, "ids must hold.*datetime64"),
        ("mask_not_equal", (np.zeros((1, 2), object), 0), TypeError, "ids must have a fixed-size"),
        ("mask_not_equal", (np.zeros((2, 2)), 0), ValueError, r"ids must have shape.*\(2, 2\)"),
        ("mask_not_equal", ([[0, 1]], 0), TypeError, "ids must be a NumPy array, not list"),
        ("mask_any_not_equal", (np.zeros((1, 2, 3), "c16"), 0), TypeError, "x must hold.*complex"),
        ("mask_any_not_equal", (np.zeros((1, 2)), 0), ValueError, r"x must have shape.*\(1, 2\)"),
        ("mask_from_lengths", (np.zeros(2, int), False), ValueError, "lengths must have shape"),
        ("mask_from_lengths", (np.zeros(1), False), TypeError, "lengths must have dtype int64"),
    ],
)
def test_wrong_arguments(
    backend: Any, name: str, arguments: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        getattr(backend, name)(garbage((1, 2)), *arguments)


@EACH_BACKEND
def test_plan_needs_room_for_every_step(backend: Any) -> None:
    valid = np.zeros((2, 3), bool)
    arrays = np.empty(3, np.int64), np.empty(5, np.int64), np.empty(2, np.int64)
    with pytest.raises(ValueError, match="steps must have room for 6 steps, not 5"):
        backend.plan_steps(*arrays, valid)


@EACH_BACKEND
def test_outputs_that_cannot_be_written(backend: Any) -> None:
    valid = garbage((1, 2))
    valid.flags.writeable = False
    with pytest.raises(ValueError, match="valid is an output and must be writeable"):
        backend.mask_not_equal(valid, np.zeros((1, 2)), 0)
    words = r"valid must be C-contiguous, not with strides \(4, 2\): an output is allocated so"
    with pytest.raises(ValueError, match=words):
        backend.mask_not_equal(garbage((1, 4))[:, ::2], np.zeros((1, 2)), 0)


@EACH_BACKEND
def test_inputs_that_lie_otherwise_in_memory(backend: Any) -> None:
    words = (
        r"ids must be C-contiguous, not with strides \(8, 32\): pass np.ascontiguousarray\(ids\)"
    )
    with pytest.raises(ValueError, match=words):
        backend.mask_not_equal(garbage((2, 3)), np.zeros((4, 4)).T[:2, :3], 0)
    odd = np.zeros(17, np.uint8)[1:].view(np.float64)[np.newaxis]
    words = "ids must be aligned, that is begin at a multiple of 8 bytes in memory: a copy of it"
    with pytest.raises(ValueError, match=words):
        backend.mask_not_equal(garbage((1, 2)), odd, 0)
