"""Masks and their plans in one pass over memory.

`x != value` is computed on bit patterns (see `bits`), so that one kernel for each item size serves
every dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..bits import pattern_of
from ..checks import checked
from .jit import array, compiled, output

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_INT64 = np.dtype(np.int64)
_BLOCK = 64  # features that are compared between two checks of the result


@checked
def mask_not_equal(valid: Bools, ids: NDArray[Any], value: float) -> None:
    """See `spec`; a value between two floats counts as the nearer one."""
    pattern = pattern_of(ids.dtype, value, "ids")
    if pattern is None:
        valid.fill(True)
    elif pattern[2]:
        np.logical_not(np.isnan(ids), out=valid)
    else:
        word = pattern.dtype
        _not_equal.for_dtype(word)(valid.reshape(-1), ids.view(word).reshape(-1), pattern)


@checked
def mask_any_not_equal(valid: Bools, x: NDArray[Any], value: float) -> None:
    """See `spec`; a value between two floats counts as the nearer one."""
    features = x.shape[2]
    pattern = pattern_of(x.dtype, value, "x")
    if pattern is None or features == 0:
        valid.fill(features > 0)
        return
    if pattern[2]:  # NaN: too rare to make the loops slower for it
        np.logical_not(np.isnan(x).all(axis=2), out=valid)
        return
    word = pattern.dtype
    flat = x.view(word).reshape(-1)
    if features == 1:
        _not_equal.for_dtype(word)(valid.reshape(-1), flat, pattern)
    else:
        _any_not_equal.for_dtype(word)(valid.reshape(-1), flat, features, pattern)


@checked
def mask_from_lengths(valid: Bools, lengths: Ints, pre: bool) -> None:
    """See `spec`; lengths outside 0 to T count as the nearer of the two."""
    _from_lengths.for_dtype(_INT64)(valid, lengths, bool(pre))


@checked
def plan_steps(offsets: Ints, steps: Ints, order: Ints, valid: Bools) -> None:
    """See `spec`."""
    if steps.size < valid.size:
        raise ValueError(f"steps must have room for {valid.size} steps, not {steps.size}")
    starts = np.zeros(valid.shape[1] + 1, np.int64)
    find_plan.for_dtype(_INT64)(offsets, steps, order, valid, starts)


@compiled(lambda u: types.void(output(types.boolean, 1), array(u, 1), array(u, 1)))
def _not_equal(valid: Any, x: Any, pattern: Any) -> None:
    keep, bits = pattern[0], pattern[1]
    for i in range(valid.size):
        valid[i] = (x[i] & keep) != bits


@compiled(lambda u: types.void(output(types.boolean, 1), array(u, 1), types.uint64, array(u, 1)))
def _any_not_equal(valid: Any, x: Any, features: Any, pattern: Any) -> None:
    # Nearly every valid step differs in its first feature. A masked step is read to its end, in
    # blocks without a branch, which become SIMD code. Indices are unsigned: a signed one would be
    # tested for being negative, which keeps the loop scalar (7 times slower).
    keep, bits = pattern[0], pattern[1]
    start = np.uint64(0)
    for i in range(valid.size):
        end = start + features
        differs = (x[start] & keep) != bits
        begin = start + np.uint64(1)
        while begin < end and not differs:
            stop = min(begin + np.uint64(_BLOCK), end)
            for f in range(begin, stop):
                differs |= (x[f] & keep) != bits
            begin = stop
        valid[i] = differs
        start = end


@compiled(lambda _: types.void(output(types.boolean, 2), array(types.int64, 1), types.boolean))
def _from_lengths(valid: Any, lengths: Any, pre: Any) -> None:
    time = valid.shape[1]
    for b in range(valid.shape[0]):
        length = min(max(lengths[b], 0), time)
        edge = time - length if pre else length
        for t in range(time):
            valid[b, t] = (t < edge) ^ pre


def plan_signature(i: Any) -> Any:
    """That of `find_plan`."""
    return types.void(
        output(i, 1), output(i, 1), output(i, 1), array(types.boolean, 2), output(i, 1)
    )


@compiled(plan_signature)
def find_plan(offsets: Any, steps: Any, order: Any, valid: Any, starts: Any) -> None:
    """See `plan_steps`."""
    # Every step is written, and overwritten by the next one if it is masked: no branch to
    # mispredict. `count` never passes the position, so the writes stay inside `steps`.
    # `starts` arrives as zeros (T + 1).
    rows, time = valid.shape
    count = np.uint64(0)
    offsets[0] = 0
    for b in range(rows):
        first = b * time
        for t in range(time):
            steps[count] = first + t
            count += np.uint64(valid[b, t])
        offsets[b + 1] = count
        starts[offsets[b + 1] - offsets[b]] += 1
    # A stable counting sort: starts[n] becomes the place of the next row of n steps.
    place = 0
    for n in range(time, -1, -1):
        rows_of_n = starts[n]
        starts[n] = place
        place += rows_of_n
    for b in range(rows):
        n = offsets[b + 1] - offsets[b]
        order[starts[n]] = b
        starts[n] += 1
