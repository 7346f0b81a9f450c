"""Votes, shuffles and matches of a block's and a warp's threads in the simulator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import cuda, float32

from fastmask_kernels.cuda.runtime import device as _device

if not _device.SIMULATED:
    pytest.skip("tests the simulator", allow_module_level=True)
from fastmask_kernels.cuda.simulator import launch

ALL = 0xFFFFFFFF


@cuda.jit
def counted(out: Any, x: Any) -> None:
    """Votes of a block, and an atomic sum."""
    i = cuda.threadIdx.x
    positive = x[i] > 0
    out[0] = cuda.syncthreads_count(positive)
    out[1] = cuda.syncthreads_and(positive)
    out[2] = cuda.syncthreads_or(positive)
    cuda.atomic.add(out, 3, i)
    cuda.atomic.max(out, 4, i)


def test_votes_and_atomics() -> None:
    x, out = np.random.default_rng(9).normal(size=70), cuda.to_device(np.zeros(5, np.int64))
    launch(counted, 1, 70, out, x)
    assert out.copy_to_host().tolist() == [(x > 0).sum(), 0, 1, 70 * 69 // 2, 69]


@cuda.jit
def divided(out: Any, first: Any, second: Any) -> None:
    """The halves of a warp call different functions, or the same at different lines."""
    if cuda.threadIdx.x < 16:
        out[cuda.threadIdx.x] = first(cuda.threadIdx.x)
    else:
        out[cuda.threadIdx.x] = second(cuda.threadIdx.x)


CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "syncthreads at syncthreads": (
        lambda _: cuda.syncthreads() or 0,
        lambda _: cuda.syncthreads() or 0,
    ),
    "syncthreads at syncthreads_or": (
        lambda _: cuda.syncthreads() or 0,
        lambda i: cuda.syncthreads_or(i),
    ),
    "shfl_down_sync at syncwarp": (
        lambda i: cuda.shfl_down_sync(ALL, i, 1),
        lambda _: cuda.syncwarp() or 0,
    ),
    "any_sync at ballot_sync": (
        lambda i: cuda.any_sync(ALL, i),
        lambda i: cuda.ballot_sync(ALL, i),
    ),
}


@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize("seed", range(2))
def test_different_calls_in_the_arms_of_a_branch(calls: str, seed: int) -> None:
    with pytest.raises(RuntimeError, match="must all make the same call") as raised:
        launch(lambda out: divided.py_func(out, *CALLS[calls]), 1, 64, np.zeros(64), seed=seed)
    assert str(raised.value).count(" of block (0, 0, 0) is in ") == 1
    assert "(0, 0, 0) in " in str(raised.value)
    assert "move the call out of the branch" in str(raised.value)
    for name, function in zip(calls.split(" at "), CALLS[calls], strict=True):
        place = f"{name} at {__file__}:{function.__code__.co_firstlineno}"
        assert re.search(re.escape(place) + r"\b", str(raised.value))


@cuda.jit
def of_a_half(out: Any) -> None:
    """Halves of a warp work apart; lane 5 ends before."""
    lane, half = cuda.laneid, cuda.laneid // 16
    mask = 0xFFFF << 16 * half
    if lane == 5:
        return
    if half == 0:
        for _ in range(3):
            cuda.syncwarp(mask)
        total = cuda.shfl_down_sync(mask, float32(lane), 8)
    else:
        total = cuda.shfl_xor_sync(np.int32(-65536), lane, 1)
    out[lane, 0], out[lane, 1] = total, cuda.ballot_sync(mask, lane % 2)
    cuda.syncthreads()
    out[lane, 2] = cuda.all_sync(ALL, 1)


def test_masks_of_some_lanes() -> None:
    out = np.zeros((32, 3))
    launch(of_a_half, 1, 32, out)
    lanes = np.arange(32)
    expected = np.where(lanes < 8, lanes + 8, np.where(lanes < 16, np.nan, lanes ^ 1))
    votes = np.where(lanes < 16, 0xAAAA - (1 << 5), 0xAAAA0000 - 2**32)  # an int32
    others = lanes != 5
    np.testing.assert_array_equal(out[others], np.stack([expected, votes, lanes >= 0], 1)[others])


@cuda.jit
def left_out(out: Any) -> None:
    out[cuda.laneid] = cuda.shfl_sync(0xFFFF, cuda.laneid, 0)


def test_lanes_that_a_mask_does_not_name() -> None:
    at = f"{__file__}:{left_out.py_func.__code__.co_firstlineno + 2}"
    told = rf"mask 0xffff of shfl_sync at {re.escape(at)} does not name its lane \d+: pass the mask"
    with pytest.raises(RuntimeError, match=told):
        launch(left_out, 1, 32, np.zeros(32))


@cuda.jit
def shifted(out: Any, distance: int) -> None:
    i = cuda.laneid
    out[0, i] = cuda.shfl_xor_sync(ALL, i, distance)
    out[1, i] = cuda.shfl_down_sync(ALL, i, distance)
    out[2, i] = cuda.shfl_up_sync(ALL, i, distance)
    out[3, i] = cuda.shfl_sync(ALL, i, distance)


@pytest.mark.parametrize("distance", [33, 40, 64, -1])
def test_of_a_distance_the_low_five_bits_count(distance: int) -> None:
    """As of PTX's shfl."""
    out, expected = np.zeros((2, 4, 32), np.int64)
    launch(shifted, 1, 32, out, distance)
    launch(shifted, 1, 32, expected, distance % 32)
    np.testing.assert_array_equal(out, expected)


def in_halves(out: Any, call: Any, low: int, high: int) -> None:
    i = cuda.laneid
    mask = low if i < 16 else high
    for _ in range(2):
        call(mask, i)
    out[i] = 1


IN_MASKS: dict[str, Callable[[Any, Any], Any]] = {
    "a shuffle": lambda mask, i: cuda.shfl_xor_sync(mask, i, 8),
    "a vote": lambda mask, i: cuda.any_sync(mask, i),
    "syncwarp": lambda mask, _: cuda.syncwarp(mask),
}


MASKS = [(ALL, 0xFFFF0000), (0xFFFF, ALL), (0x1FFFF, 0xFFFF8000)]


@pytest.mark.parametrize(("low", "high"), MASKS, ids=["low", "high", "both"])
@pytest.mark.parametrize("call", IN_MASKS)
@pytest.mark.parametrize("seed", range(3))
def test_lanes_that_pass_different_masks(call: str, low: int, high: int, seed: int) -> None:
    """Undefined on a GPU, even if all lanes get what they expect."""
    line = IN_MASKS[call].__code__.co_firstlineno

    def kernel(out: Any) -> None:
        in_halves(out, IN_MASKS[call], low, high)

    with pytest.raises(RuntimeError, match="must pass the same mask") as raised:
        launch(kernel, 1, 32, np.zeros(32), seed=seed)
    words = str(raised.value)
    assert re.search(rf"lane \d+ passes {low:#x} at ", words)
    assert re.search(rf"lane \d+ passes {high:#x} at ", words)
    assert f"{__file__}:{line}" in words


def reduced(mask: int, value: Any, distance: int) -> Any:
    while distance:
        value += cuda.shfl_xor_sync(mask, value, distance)
        distance //= 2
    return value


@cuda.jit
def in_turns(out: Any) -> None:
    """Fewer and fewer lanes in every row; then half a warp before all of it, at the same line."""
    i = cuda.laneid
    for row in range(3):
        total, width = 1, 32
        while width > 1:
            if i < width:
                total += cuda.shfl_down_sync((1 << width) - 1, total, width // 2)
            width //= 2
        out[row, i] = total
    if i >= 16:
        out[3, i] = reduced(0xFFFF0000, 1, 8)
    out[4, i] = reduced(ALL, 1, 16)


@pytest.mark.parametrize("seed", range(5))
def test_masks_that_follow_each_other(seed: int) -> None:
    """A lane may wait for another one that makes calls with other lanes first."""
    out = np.zeros((5, 32))
    launch(in_turns, 1, 32, out, seed=seed)
    assert out[:3, 0].tolist() == [32] * 3
    assert out[3].tolist() == [0] * 16 + [16] * 16
    assert out[4].tolist() == [32] * 32


@cuda.jit
def matched(out: Any, values: Any) -> None:
    i = cuda.laneid
    out[i, 0] = cuda.match_any_sync(ALL, values[i])
    mask = 0xFF if i < 8 else ALL - 0xFF
    out[i, 1], out[i, 2] = cuda.match_all_sync(mask, values[i])
    out[i, 3], out[i, 4] = cuda.eq_sync(mask, values[i] > 0), cuda.eq_sync(ALL, values[i] > 0)
    out[i, 5], out[i, 6] = cuda.lanemask_lt(), cuda.activemask()
    cuda.syncwarp()


@pytest.mark.parametrize("dtype", ["i4", "f4"])
def test_matches_of_lanes(dtype: str) -> None:
    out, lanes = np.zeros((32, 7), np.int64), np.arange(32)
    values = np.where(lanes < 8, 0, np.where(lanes % 2, 1, 2))
    launch(matched, 1, 32, out, values.astype(dtype))
    for lane in lanes:
        same = sum(1 << i for i in range(32) if values[i] == values[lane])
        assert out[lane, 0] & ALL == same
        assert -(2**31) <= out[lane, 0] < 2**31, "an int32"
    first = lanes < 8
    assert (out[:, 1] == np.where(first, 0xFF, 0)).all()
    assert (out[:, 2] == first).all()
    assert (out[:, 3:5] == [1, 0]).all()
    assert (out[:, 5] == 2**lanes - 1).all()
    assert (out[:, 6] == ALL).all()


@cuda.jit
def matched_in_arms(out: Any) -> None:
    if cuda.laneid < 16:
        out[0] = cuda.match_any_sync(ALL, 1)
    else:
        out[0] = cuda.eq_sync(ALL, 1)


def test_matches_in_the_arms_of_a_branch() -> None:
    with pytest.raises(RuntimeError, match="must all make the same call"):
        launch(matched_in_arms, 1, 32, np.zeros(1))
