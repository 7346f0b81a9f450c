"""lstm_step, gru_step and rnn_step of each backend: one step in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastmask_kernels import cpu, reference
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.queue import STILL_INSIDE
from fastmask_kernels.cpu.parallel.schedule import Schedule
from fastmask_kernels.cpu.rnn import step

from ..cases import RecurrentCase, assert_close, cases_of
from ..each import EACH_BACKEND, EACH_CELL, EACH_FORM, FORMS

Array = NDArray[Any]
SCHEDULES = (
    Schedule(2, 2, 1),
    Schedule(2, 5, 1),
    Schedule(2, 0, 0),
    Schedule(3, 2, 1),
    Schedule(4, 0, 0),
)


def one_step(cell: str, *sizes: int, kind: str = "holes", **options: Any) -> RecurrentCase:
    """A case of one time step, of sizes B, F, H."""
    batch, features, units = sizes
    return FORMS[cell](batch, 1, features, units, kind=kind, **options)


def step_cases(cell: str) -> st.SearchStrategy[Any]:
    """Random cases of one time step; each dtype of a cell compiles a kernel."""
    dtypes = ("float32", "float64") if cell == "lstm" else ("float32",)
    return cases_of(
        cell,
        time=st.just(1),
        batch=st.integers(0, 120),
        spare=st.just(0),
        dtype=st.sampled_from(dtypes),
    )


def stepped(case: RecurrentCase, backend: Any, threads: int = 1) -> list[Array]:
    """The states after a step; rows without an event start as NaN."""
    size = getattr(backend, f"{case.cell}_packed_size")(
        case.features, case.units, np.dtype(case.dtype)
    )
    packed = np.full(size, np.nan, case.dtype)
    getattr(backend, f"{case.cell}_pack")(packed, *case.weights, *case.pack_options)
    valid = case.valid[:, 0].copy()
    states = [
        np.where(valid[:, np.newaxis], state, state.dtype.type(np.nan)) for state in case.states
    ]
    untouched = [state[~valid].tobytes() for state in states]
    everybody = case.kind == "full" and case.batch % 2 == 0  # flags or none: same result
    getattr(backend, f"{case.cell}_step")(
        *(*states, case.x[:, 0].copy(), valid[: 0 if everybody else None], packed),
        *(*case.options, threads),
    )
    assert [state[~valid].tobytes() for state in states] == untouched
    return states


def expected(case: RecurrentCase) -> list[Array]:
    """The last states of the reference's sequence kernel, NaN in rows without an event."""
    last = case.run(reference, dtype="float64")[1:]
    return [np.where(case.valid, state, np.nan) for state in last]


@EACH_BACKEND
@EACH_CELL
def test_equals_the_sequence_kernel(cell: str, backend: Any) -> None:
    @given(step_cases(cell))
    @settings(max_examples=30 if backend is reference else 120, deadline=None)
    def check(case: RecurrentCase) -> None:
        for actual, wanted in zip(stepped(case, backend), expected(case), strict=True):
            assert actual.dtype == case.dtype
            assert_close(actual, wanted, case.dtype)

    check()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@EACH_FORM
def test_sharing_does_not_change_a_bit(
    cell: str, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sizes in ((7, 5, 40), (60, 3, 17)):
        case = one_step(cell, *sizes)
        alone = stepped(case, cpu)
        with monkeypatch.context() as patch:
            patch.setattr(run, "make_schedule", lambda *_: schedule)
            for _ in range(20):  # workers join earlier or later
                for a, b in zip(stepped(case, cpu, schedule.threads), alone, strict=True):
                    np.testing.assert_array_equal(a, b)


@EACH_FORM
def test_many_parts_on_all_threads(cell: str) -> None:
    for kind in ("full", "holes"):
        case = one_step(cell, 999, 20, 70, kind=kind)
        alone = stepped(case, cpu)
        for threads in (2, 3, 7):
            for a, b in zip(stepped(case, cpu, threads), alone, strict=True):
                np.testing.assert_array_equal(a, b)
        for actual, wanted in zip(alone, expected(case), strict=True):
            assert_close(actual, wanted, case.dtype)


@EACH_FORM
def test_few_rows_of_many_units(cell: str) -> None:
    """The kernel itself decides that threads share the panels of a step."""
    case = one_step(cell, 5, 30, 400, kind="full")
    for a, b in zip(stepped(case, cpu, 2), stepped(case, cpu), strict=True):
        np.testing.assert_array_equal(a, b)


def test_wrong_arguments_raise() -> None:
    h, x, packed = np.zeros((4, 3)), np.zeros((4, 2)), np.zeros(7)
    valid = np.ones(4, bool)
    with pytest.raises(ValueError, match="packed must come from gru_pack for 2 features, 3 units"):
        cpu.gru_step(h, x, valid, packed, "tanh", "sigmoid", True, 1)
    with pytest.raises(TypeError, match="valid must have dtype bool, not int64"):
        cpu.gru_step(h, x, valid.astype(np.int64), packed, "tanh", "sigmoid", True, 1)
    h.flags.writeable = False
    with pytest.raises(ValueError, match="h is an output and must be writeable"):
        cpu.gru_step(h, x, valid, packed, "tanh", "sigmoid", True, 1)


def test_scratch_that_a_helper_may_still_use_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = one_step("lstm", 30, 3, 8)
    step._kept._arrays.clear()
    stepped(case, cpu)
    assert len(step._kept._arrays) == 2
    monkeypatch.setattr(step, "run", lambda *_: STILL_INSIDE)
    stepped(case, cpu)
    assert not step._kept._arrays
