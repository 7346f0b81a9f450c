"""Parts of a batch, one after the other, so that backward needs memory for one at a time."""

from __future__ import annotations

from typing import NamedTuple

from .._plan import Plan

PARTS = 4  # at most
ROWS = 16  # of a part at least: fewer would leave the kernels idle


class Part(NamedTuple):
    """Neighbouring rows of a batch."""

    rows: slice
    steps: slice  # of the batch's plan
    plan: Plan  # the rows' own


def whole(plan: Plan) -> list[Part]:
    """The batch in one part."""
    return [Part(slice(None), slice(0, len(plan.steps)), plan)]


def parts_of(plan: Plan, time: int) -> list[Part]:
    """The batch in parts.

    Args:
        plan: of NumPy arrays.
        time: T.
    """
    batch = len(plan.order)
    size = max(ROWS, -(-batch // PARTS))
    if size >= batch:
        return whole(plan)
    return [_part(plan, time, begin, min(begin + size, batch)) for begin in range(0, batch, size)]


def _part(plan: Plan, time: int, begin: int, end: int) -> Part:
    offsets, steps, order = plan
    own = slice(int(offsets[begin]), int(offsets[end]))
    return Part(
        slice(begin, end),
        own,
        Plan(
            offsets[begin : end + 1] - own.start,
            steps[own] - begin * time,
            order[(order >= begin) & (order < end)] - begin,
        ),
    )
