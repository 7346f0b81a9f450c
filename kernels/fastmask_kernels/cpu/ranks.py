"""The plan by rank: rows in the order of their length, which time loops walk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ._compile import array, compiled, inner, output

Ints = NDArray[np.int64]

_FAULTS = (
    "",
    "offsets must begin with 0, not decrease, and end within steps",
    "order must name every row once",
    "order must name rows with more valid steps first, offsets[b + 1] - offsets[b] for row b",
    "steps[offsets[b]:offsets[b + 1]] must ascend within b * T, ..., b * T + T - 1",
)
_i8 = types.int64
_INT64 = np.dtype(np.int64)


@inner
def rank_rows(
    row_of: Any,
    first_of: Any,
    count_of: Any,
    seen: Any,
    offsets: Any,
    steps: Any,
    order: Any,
    time: int,
) -> int:
    """Write row, first entry in `steps` and number of steps of each rank.

    Returns 0 for a sound plan, else the number of its fault; `seen` is scratch.
    """
    rows = len(order)
    if offsets[0] != 0 or offsets[rows] > len(steps):
        return 1
    for row in range(rows):
        seen[row] = 0
        if offsets[row + 1] < offsets[row]:
            return 1
    for rank in range(rows):
        row = order[rank]
        if row < 0 or row >= rows or seen[row] != 0:
            return 2
        seen[row] = 1
        first, count = offsets[row], offsets[row + 1] - offsets[row]
        if rank > 0 and count > count_of[rank - 1]:
            return 3
        row_of[rank], first_of[rank], count_of[rank] = row, first, count
        before = row * time - 1
        for step in range(first, first + count):
            if steps[step] <= before:
                return 4
            before = steps[step]
        if before >= (row + 1) * time:
            return 4
    return 0


def length_of_rank(plan: tuple[Ints, Ints, Ints], rank: int) -> int:
    """Number of steps of a rank, read off a plan that may still turn out to be none."""
    offsets, _, order = plan
    row = order[rank] if rank < len(order) else -1
    return int(offsets[row + 1] - offsets[row]) if 0 <= row < len(order) else 0


def raise_fault(fault: int) -> None:
    """Raise for what `rank_rows` returned, unless that is 0."""
    if fault:
        raise ValueError(f"offsets, steps and order are no plan: {_FAULTS[fault]}")


_rank_rows = compiled(lambda i: _i8(*[output(i, 1)] * 4, *[array(i, 1)] * 3, _i8))(
    rank_rows.py_func
)


def ranks_of(offsets: Ints, steps: Ints, order: Ints, time: int) -> Ints:
    """Row, first entry in `steps` and number of steps of each rank.

    Args:
        offsets: (B + 1,), see `spec`.
        steps: (P,).
        order: (B,).
        time: T.

    Returns:
        (4, B); the last line is scratch.

    Raises:
        ValueError: the three are no plan.
    """
    ranks = np.empty((4, len(order)), np.int64)
    raise_fault(_rank_rows.for_dtype(_INT64)(*ranks, offsets, steps, order, time))
    return ranks
