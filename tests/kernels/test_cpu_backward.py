"""lstm_bwd, gru_bwd and rnn_bwd of the CPU backend, with any threads and schedules."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastmask_kernels import cpu, reference
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.schedule import Schedule
from fastmask_kernels.spec import KERNELS

from ..cases import MASK_KINDS, RecurrentCase, cases_of
from ..each import EACH_CELL, EACH_FORM, FORMS
from .test_backward import assert_gradients_close
from .test_cpu_forward import SCHEDULES
from .test_kernel_table import argument_for

Array = NDArray[Any]


def shared_backward(case: RecurrentCase, schedule: Schedule) -> list[Array]:
    """Gradients from threads that share the loop by the given schedule."""
    join = min(schedule.join, int(case.valid.sum(axis=1).max(initial=0)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_schedule", lambda *_: schedule._replace(join=join))
        return case.run_backward(cpu, threads=schedule.threads)


def assert_same_bits(actual: list[Array], expected: list[Array]) -> None:
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@EACH_CELL
def test_sharing_does_not_change_a_bit(cell: str) -> None:
    @given(cases_of(cell), st.sampled_from(SCHEDULES[1:]))
    @settings(max_examples=60, deadline=None)
    def check(case: RecurrentCase, schedule: Schedule) -> None:
        assert_same_bits(shared_backward(case, schedule), case.run_backward(cpu))

    check()


@EACH_FORM
def test_more_threads_than_processors(cell: str) -> None:
    """Then workers leave the common steps; the work after these steps waits for them."""
    case = FORMS[cell](12, 150, 4, 260, kind="right")
    alone = case.run_backward(cpu)
    for _ in range(5):
        assert_same_bits(shared_backward(case, Schedule(12, 4, 3)), alone)


@pytest.mark.parametrize("kind", MASK_KINDS)
@EACH_FORM
def test_larger_batches_on_all_threads(cell: str, kind: str) -> None:
    for sizes in ((33, 20, 24, 64), (2, 90, 64, 150), (70, 8, 16, 130)):
        case = FORMS[cell](*sizes, kind=kind)
        alone = case.run_backward(cpu)
        for threads in (2, 3, 7):
            assert_same_bits(case.run_backward(cpu, threads=threads), alone)
        for actual, wanted in zip(
            alone, case.run_backward(reference, dtype="float64"), strict=True
        ):
            assert_gradients_close(actual, wanted)


@EACH_FORM
def test_a_long_sequence(cell: str) -> None:
    case = FORMS[cell](2, 20_000, 3, 20, kind="holes", dtype="float64")
    alone = case.run_backward(cpu)
    assert_same_bits(shared_backward(case, Schedule(2, 0, 0)), alone)
    for actual, wanted in zip(alone, case.run_backward(reference), strict=True):
        assert_gradients_close(actual, wanted)


@EACH_FORM
def test_a_row_does_not_depend_on_its_neighbors(cell: str) -> None:
    case = FORMS[cell](30, 12, 9, 40, kind="holes")
    together = case.run_backward(cpu)[4:-1]
    for row in (0, 7, 29):
        alone, keep = copy.copy(case), slice(row, row + 1)
        alone.batch, alone.x, alone.valid = 1, case.x[keep], case.valid[keep]
        alone.dout, alone.dlast = case.dout[keep], [d[keep] for d in case.dlast]
        alone.states = [s[keep] for s in case.states]
        assert_same_bits(alone.run_backward(cpu)[4:-1], [d[keep] for d in together])


@EACH_CELL
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("offsets", np.array([1, 3, 5, 8, 9]), "begin with 0"),
        ("offsets", np.array([0, 3, 5, 8, 99]), "end within steps"),
        ("order", np.array([0, 1, 2, 2]), "every row once"),
        ("steps", np.zeros(20, np.int64), "ascend"),
        ("steps", np.arange(20) - 1, "ascend"),
    ],
)
def test_no_plan(cell: str, name: str, value: Array, error: str) -> None:
    sizes = {"B": 4, "T": 5, "F": 2, "H": 3, "X": 5, "S": 5, "P": 20}
    spec = KERNELS[f"{cell}_bwd"]
    arguments = {a.name: argument_for(a, sizes) for a in spec.arguments}
    plan = FORMS[cell](4, 5, 2, 3).plan
    arguments |= dict(zip(("offsets", "steps", "order"), plan, strict=True)) | {name: value}
    with pytest.raises(ValueError, match=error):
        getattr(cpu, spec.name)(**arguments)
