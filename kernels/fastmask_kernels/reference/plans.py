"""`checked` for this backend's recurrent kernels, which also looks at their plan."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from .. import checks as _checks
from ..plans import words_of

Ints = NDArray[np.int64]


def require_plan(offsets: Ints, steps: Ints, order: Ints, time: int) -> tuple[Ints, Ints, Ints]:
    """The three arrays, if they are a plan of rows of `time` steps.

    Raises:
        ValueError: they are not.
    """
    fault = _fault(offsets, steps, order, time)
    if fault:
        raise ValueError(words_of(fault))
    return offsets, steps, order


def _fault(offsets: Ints, steps: Ints, order: Ints, time: int) -> int:
    """The number of what is wrong with a plan, see `plans.FAULTS`."""
    starts, ends, rows = offsets[:-1], offsets[1:], np.arange(len(order))
    if offsets[0] != 0 or offsets[-1] > len(steps) or (ends < starts).any():
        return 1
    if not np.array_equal(np.sort(order), rows):
        return 2
    lengths = ends - starts
    if (np.diff(lengths[order]) > 0).any():
        return 3
    places, first = steps[: offsets[-1]], np.repeat(rows * time, lengths)
    inside = (first <= places) & (places < first + time)
    return 0 if inside.all() and (places[:-1] < places[1:]).all() else 4


checked = partial(_checks.checked, plan_of=require_plan)
