"""Parts of a batch, one after the other, so that backward needs memory for one at a time."""

from __future__ import annotations

from typing import NamedTuple

from ..backends.plan import Plan

PARTS = 4  # at least, if there are enough rows
ROWS = 16  # of a part at least: fewer would leave the kernels idle
PART_BYTES = 1 << 26  # recomputed for a part, unless `ROWS` rows need more


class Part(NamedTuple):
    """Neighboring rows of a batch."""

    rows: slice
    steps: slice  # of the batch's plan
    whole: Plan  # of the batch
    time: int  # T

    @property
    def plan(self) -> Plan:
        """The plan of these rows; it takes memory."""
        if self.rows == slice(None):
            return self.whole
        offsets, steps, order = self.whole
        begin, end = self.rows.start, self.rows.stop
        return Plan(
            offsets[begin : end + 1] - self.steps.start,
            steps[self.steps] - begin * self.time,
            order[(order >= begin) & (order < end)] - begin,
        )


def whole(plan: Plan, time: int) -> list[Part]:
    """The batch in one part."""
    return [Part(slice(None), slice(0, len(plan.steps)), plan, time)]


def parts_of(plan: Plan, time: int, step_bytes: int = 0) -> list[Part]:
    """The batch in parts.

    Args:
        plan: of NumPy arrays.
        time: T.
        step_bytes: bytes that are recomputed for each step.
    """
    batch = len(plan.order)
    size = min(-(-batch // PARTS), PART_BYTES // max(time * step_bytes, 1))
    size = max(ROWS, size)
    if size >= batch:
        return whole(plan, time)
    return [_part(plan, time, begin, min(begin + size, batch)) for begin in range(0, batch, size)]


def _part(plan: Plan, time: int, begin: int, end: int) -> Part:
    steps = slice(int(plan.offsets[begin]), int(plan.offsets[end]))
    return Part(slice(begin, end), steps, plan, time)
