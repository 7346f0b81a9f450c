"""Invalid plans (offsets, steps, order) in calls of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import reference

from ..each import EACH_BACKEND
from .plans import EACH_WRONG_PLAN, OFFSETS, ORDER, STEPS, run


@EACH_BACKEND
@EACH_WRONG_PLAN
def test_no_plan(
    backend: Any, offsets: list[int], steps: list[int], order: list[int], words: str
) -> None:
    with pytest.raises(ValueError, match=f"offsets, steps and order are not a plan: {words}"):
        run(backend, offsets, steps, order)


def test_steps_after_the_plan_are_not_read() -> None:
    exact, longer = (run(reference, OFFSETS, [*STEPS, *more], ORDER) for more in ([], [10**9, -1]))
    for wanted, found in zip(exact, longer, strict=True):
        np.testing.assert_array_equal(found[: len(wanted)], wanted)
