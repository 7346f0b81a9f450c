"""Checks of a plan, without which time loops would read outside of their arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ...plans import words_of
from ..jit import array, compiled, inner, output
from .batch import row_start

Ints = NDArray[np.int64]

_BITS, _SHIFT = 64, 6  # of a word
_SEEN_WORDS = 1 << 17  # a megabyte; orders of more rows are read several times
_i8 = types.int64
_INT64 = np.dtype(np.int64)


def seen_size(rows: int) -> int:
    """Elements of the scratch that a check of `order` needs."""
    return max(1, min(-(-rows // _BITS), _SEEN_WORDS))


@inner
def _names_every_row(order: Any, rows: int, seen: Any, words: int) -> bool:
    """Whether `order` names each row once; checks as many rows at a time as `seen` has bits."""
    begin, seen_rows = 0, words * _BITS
    while begin < rows:
        for word in range(words):
            seen[word] = 0
        for rank in range(rows):
            row = order[rank]
            if row < 0 or row >= rows:
                return False
            place = row - begin
            if 0 <= place < seen_rows:
                word, bit = place >> _SHIFT, 1 << (place & (_BITS - 1))
                if seen[word] & bit != 0:
                    return False
                seen[word] |= bit
        begin += seen_rows
    return True


@inner
def find_fault(offsets: Any, steps: Any, order: Any, time: int, seen: Any, words: int) -> int:
    """The number of what is wrong with a plan, see `plans.FAULTS`; 0 for a valid one.

    `time` is T or RAGGED; `seen` is scratch of `words` words, see `seen_size`.
    """
    rows = len(order)
    if offsets[0] != 0 or offsets[rows] > len(steps):
        return 1
    for row in range(rows):
        if offsets[row + 1] < offsets[row]:
            return 1
    if not _names_every_row(order, rows, seen, words):
        return 2
    longest = offsets[rows]
    for rank in range(rows):
        row = order[rank]
        first, end = offsets[row], offsets[row + 1]
        if end - first > longest:
            return 3
        longest = end - first
        before = row_start(offsets, time, row) - 1
        for step in range(first, end):
            if steps[step] <= before:
                return 4
            before = steps[step]
        if before >= row_start(offsets, time, row + 1):
            return 4
    return 0


def length_of_rank(plan: tuple[Ints, Ints], rank: int) -> int:
    """Number of steps of a rank, from offsets and order that are not checked yet."""
    offsets, order = plan
    row = order[rank] if rank < len(order) else -1
    return int(offsets[row + 1] - offsets[row]) if 0 <= row < len(order) else 0


def raise_fault(fault: int) -> None:
    """Raise for what `find_fault` returned, unless that is 0."""
    if fault:
        raise ValueError(words_of(fault))


@compiled(lambda i: _i8(*[array(i, 1)] * 3, _i8, output(i, 1)))
def _find_fault(offsets: Any, steps: Any, order: Any, time: int, seen: Any) -> int:
    return int(find_fault(offsets, steps, order, time, seen, len(seen)))


def check_plan(offsets: Ints, steps: Ints, order: Ints, time: int) -> None:
    """Raise unless the three are a plan.

    Args:
        offsets: (B + 1,), see `spec`.
        steps: (P,).
        order: (B,).
        time: T.

    Raises:
        ValueError: they are not.
    """
    seen = np.empty(seen_size(len(order)), np.int64)
    raise_fault(_find_fault.for_dtype(_INT64)(offsets, steps, order, time, seen))
