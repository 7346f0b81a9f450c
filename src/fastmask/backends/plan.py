"""Which steps of a batch exist, found once for each mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .._typing import INT64, Bools, Ints
from .keeping import Keeping
from .table import kernels

MOST_KEPT = 1 << 22  # bytes of full plans; making a larger one takes little time beside its call

_plans_made = 0


class Plan(NamedTuple):
    """Which steps of a batch exist.

    Row b has the valid steps `steps[offsets[b]:offsets[b + 1]]`, flat positions b * T + t in
    ascending order; `order` lists the rows, most valid steps first.
    """

    offsets: Ints
    steps: Ints
    order: Ints


P = TypeVar("P")


def plans_made() -> int:
    """How many masks have been turned into a plan so far."""
    return _plans_made


def plan_of(valid: Bools) -> Plan:
    """The plan of a C-contiguous bool array (B, T)."""
    global _plans_made
    _plans_made += 1
    batch, time = valid.shape
    offsets = np.empty(batch + 1, INT64)
    steps = np.empty(batch * time, INT64)
    order = np.empty(batch, INT64)
    kernels().plan_steps.unchecked(offsets, steps, order, valid)  # arrays made here need no checks
    return _read_only(offsets, steps[: offsets[batch]], order)


def full_plan_size(batch: int, time: int, *_device: object) -> int:
    """Bytes of a plan where all steps are valid."""
    return (2 * batch + 1 + batch * time) * INT64.itemsize


def full_plans(
    counting: Callable[..., Any], finish: Callable[..., P], most_bytes: int
) -> Keeping[P]:
    """A cached function that makes plans for batches whose steps are all valid.

    Args:
        counting: `counting(n, step, *device)` makes the n int64 numbers 0, step, 2 step, ...
        finish: the plan of offsets, steps and order.
        most_bytes: limit for all plans kept.

    Returns:
        A function of batch, time and, where there are several, the device.
    """

    def make(batch: int, time: int, *device: Any) -> P:
        sizes = (batch + 1, time), (batch * time, 1), (batch, 1)
        return finish(*(counting(count, step, *device) for count, step in sizes))

    return Keeping(make, full_plan_size, most_bytes)


def _read_only(*arrays: Ints) -> Plan:
    for array in arrays:
        array.setflags(write=False)  # twice as fast as through `flags`
    return Plan(*arrays)


def _counting(count: int, step: int) -> Ints:
    numbers = np.arange(count, dtype=np.int64)
    return numbers if step == 1 else numbers * step


full_plan = full_plans(_counting, _read_only, MOST_KEPT)
