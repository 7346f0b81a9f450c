"""Kernels on rows without padding, x (1, P, F), against the same rows in a padded batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastmask_kernels import cpu, reference
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.schedule import Schedule

from ..cases import CASES, RecurrentCase, assert_close, cases_of
from ..each import EACH_CELL
from .test_backward import assert_gradients_close

SCHEDULES = Schedule(1, 1, 99), Schedule(2, 5, 99), Schedule(2, 0, 0), Schedule(3, 2, 2)


def without_padding(case: RecurrentCase, backend: Any, threads: int = 1) -> list[NDArray[Any]]:
    """The outputs of only the valid steps, (P, H), and the last states."""
    kernels, dtype = case.kernels(backend), np.dtype(case.dtype)
    packed = np.empty(kernels.packed_size(case.features, case.units, dtype), dtype)
    kernels.pack(packed, *case.weights, *case.pack_options)
    offsets, steps, order = case.plan
    steps = np.arange(offsets[-1])
    out = np.full((1, len(steps) if case.sequences else 0, case.units), np.nan, dtype)
    last = [np.full_like(state, np.nan) for state in case.states]
    saved = [np.empty((0, case.units), dtype) for _ in last]
    if case.gates_saved:
        saved.append(np.empty((0, case.gates_saved * case.units), dtype))
    x = np.ascontiguousarray(case.x[case.valid])[np.newaxis]
    kernels.fwd.unchecked(  # the checks would demand one row of x per row
        *(out, *last, *saved, x, offsets, steps, order, packed, *case.states),
        *(*case.options, case.reverse, case.zero_masked, threads),
    )
    return [out[0], *last]


def padded(case: RecurrentCase) -> list[NDArray[Any]]:
    out, *last = case.run(reference, dtype="float64")
    order = case.valid[:, ::-1] if case.reverse else case.valid
    return [out[order] if case.sequences else out.reshape(0, case.units), *last]


@pytest.mark.slow
@EACH_CELL
def test_equals_padded(cell: str) -> None:
    @given(cases_of(cell, spare=st.just(0)), st.sampled_from(SCHEDULES))
    @settings(max_examples=40, deadline=None)
    def check(case: RecurrentCase, schedule: Schedule) -> None:
        longest = int(case.valid.sum(axis=1).max(initial=0))
        schedule = schedule._replace(join=min(schedule.join, longest))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "make_schedule", lambda *_: schedule)
            actual = without_padding(case, cpu, schedule.threads)
        for backend in (actual, without_padding(case, reference)):
            for one, wanted in zip(backend, padded(case), strict=True):
                assert_close(one, wanted, case.dtype)

    check()


def backward_without_padding(
    case: RecurrentCase, backend: Any, threads: int, gates_saved: bool
) -> list[NDArray[Any]]:
    """Gradients of the valid steps (P, F), and all other gradients of the padded batch."""
    dtype = np.dtype(case.dtype)
    saved = case.run(backend, save="gates")[1 + case.states_saved :]
    states, kept = saved[: case.states_saved], saved[case.states_saved :]
    offsets, steps, order = case.plan
    steps = np.arange(offsets[-1])
    gates = np.full((len(steps), case.width * case.units), np.nan, dtype)
    if kept and gates_saved:
        gates[:, : kept[0].shape[1]] = kept[0]
    x = np.ascontiguousarray(case.x[case.valid])[np.newaxis]
    walked = case.valid[:, ::-1] if case.reverse else case.valid
    dout = np.ascontiguousarray(case.dout[walked] if case.sequences else x[0, :0, :0])
    dout = dout.reshape(1, len(dout), case.units)
    found = [np.full_like(one, np.nan) for one in (x, *case.weights, *case.states)]
    told = (gates_saved,) if case.gates_saved else ()
    case.kernels(backend).bwd.unchecked(
        *(*found, gates, dout, *case.dlast, x, offsets, steps, order, *case.weights),
        *(*case.states, *states, *case.options[:2], *told, *case.options[2:]),
        *(case.reverse, case.zero_masked, threads),
    )
    return [found[0][0], *found[1:]]


@EACH_CELL
def test_backward_equals_padded(cell: str) -> None:
    for number, kind in enumerate(("right", "holes", "left", "full", "empty")):
        for gates_saved in (True, False):
            case = CASES[cell](4, 11, 6, 18, kind=kind, reverse=number % 2 == 1, zero_masked=True)
            dx, *others, _ = case.run_backward(reference, dtype="float64")
            wanted = [dx[case.valid], *others]
            for backend, threads in ((cpu, 1), (cpu, 2), (reference, 1)):
                actual = backward_without_padding(case, backend, threads, gates_saved)
                for one, expected in zip(actual, wanted, strict=True):
                    assert_gradients_close(one, expected)


def test_a_plan_with_other_steps_is_refused() -> None:
    offsets, steps, order = np.array([0, 2, 3]), np.array([0, 2, 1]), np.array([0, 1])
    x, first = np.zeros((1, 3, 2), np.float32), np.zeros((2, 4), np.float32)
    packed = np.zeros(cpu.rnn_packed_size(2, 4, np.dtype(np.float32)), np.float32)
    with pytest.raises(ValueError, match="are not a plan"):
        cpu.rnn_fwd.unchecked(
            *(np.empty((1, 3, 4), np.float32), first.copy(), np.empty((0, 4), np.float32)),
            *(x, offsets, steps, order, packed, first, "tanh", False, False, 1),
        )
