"""Invalid plans (offsets, steps, order): the device reports them, and does not follow them."""

from __future__ import annotations

import numpy as np
import pytest

from fastmask_kernels import reference
from fastmask_kernels.cuda.rnn import plans as _plans

from ..kernels.plans import EACH_WRONG_PLAN, OFFSETS, ORDER, STEPS, run
from .backend import Backend

backend = Backend()


@EACH_WRONG_PLAN
def test_no_plan(offsets: list[int], steps: list[int], order: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=rf"{words}.*after the call of rnn_fwd\)"):
        run(backend, offsets, steps, order)


def test_a_plan_after_none() -> None:
    """The report is cleared when it is read, so a valid plan passes afterwards."""
    with pytest.raises(ValueError, match="are not a plan"):
        run(backend, OFFSETS, STEPS[:5], ORDER)
    expected = run(reference, OFFSETS, STEPS, ORDER)
    for one, other in zip(run(backend, OFFSETS, STEPS, ORDER), expected, strict=True):
        np.testing.assert_allclose(one, other)


def test_backward_checks_its_plan() -> None:
    x, h, weights = np.zeros((1, 2, 1)), np.zeros((1, 1)), [np.ones((1, 1)), np.ones((1, 1))]
    arrays = x.copy(), *map(np.copy, weights), np.ones(1), h.copy(), np.zeros((1, 1))
    plan = np.array([0, 1]), np.array([2]), np.array([0])
    with pytest.raises(ValueError, match=r"steps.*must ascend.*after the call of rnn_bwd\)"):
        backend.rnn_bwd(
            *(*arrays, np.zeros((1, 0, 1)), h, x, *plan, *weights, np.ones(1), h),
            *(np.zeros((1, 1)), "tanh", False, False, 1),
        )


@pytest.mark.parametrize(
    ("offsets", "steps", "order"),
    [
        ([-1, 3, 3, 600], STEPS, ORDER),
        (OFFSETS, STEPS, [0, 7, -1]),
        (OFFSETS, STEPS, [1, 0, 2]),
        (OFFSETS, [-1, 1, 2, 10, 12, 2**62], ORDER),
    ],
)
def test_no_plan_is_read_as_one_without_steps(
    offsets: list[int], steps: list[int], order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the device computes if the host reads its report too late."""
    from fastmask_kernels import cuda
    from fastmask_kernels.cuda.runtime import checks, errors

    with monkeypatch.context() as patch:
        for module, name in ((_plans, "raise_found"), (checks, "raise_found")):
            patch.setattr(module, name, lambda: None)
        patch.setattr(cuda, "check_indices", lambda: None)
        found = run(backend, offsets, steps, order)
    with pytest.raises(ValueError, match="are not a plan"):
        errors.raise_found()
    expected = run(reference, [0, 0, 0, 0], steps, [0, 1, 2])
    for n, (one, other) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(one, other, err_msg=str(n))
