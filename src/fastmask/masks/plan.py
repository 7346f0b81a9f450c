"""Which steps of a batch exist, found once for each mask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Bools, Ints
from ..backends.dispatch import INT64, kernels
from ..backends.keeping import keeping

MOST_KEPT = 1 << 22  # bytes of full plans; larger ones are made in no time beside their call

_plans_made = 0


class Plan(NamedTuple):
    """Which steps of a batch exist.

    Row b has the valid steps `steps[offsets[b]:offsets[b + 1]]`, flat positions b * T + t in
    ascending order; `order` lists the rows, most valid steps first.
    """

    offsets: Ints
    steps: Ints
    order: Ints


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
    kernels().plan_steps.unchecked(offsets, steps, order, valid)  # all made here
    return _read_only(offsets, steps[: offsets[batch]], order)


def full_plan_size(batch: int, time: int) -> int:
    """Bytes of a plan where all steps are valid."""
    return (2 * batch + 1 + batch * time) * INT64.itemsize


@keeping(full_plan_size, MOST_KEPT)
def full_plan(batch: int, time: int) -> Plan:
    """The plan where all steps are valid."""
    return _read_only(
        np.arange(batch + 1, dtype=np.int64) * time,
        np.arange(batch * time, dtype=np.int64),
        np.arange(batch, dtype=np.int64),
    )


def _read_only(*arrays: Ints) -> Plan:
    for array in arrays:
        array.setflags(write=False)  # twice as fast as through `flags`
    return Plan(*arrays)
