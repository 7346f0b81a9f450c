"""Forward kernels of the CPU backend against the reference, with any threads and schedules."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmask_kernels import cpu, reference
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.schedule import Schedule
from fastmask_kernels.cpu.rnn import layer
from fastmask_kernels.cpu.rnn.panels import panels_of

from ..cases import (
    MASK_KINDS,
    SAVING,
    LSTMCase,
    RecurrentCase,
    assert_close,
    cases_of,
    plan_of,
)
from ..each import EACH_CELL, EACH_FORM, FORMS

SCHEDULES = (  # (threads, groups, join)
    Schedule(1, 1, 99),
    Schedule(2, 2, 99),
    Schedule(2, 5, 99),
    Schedule(2, 0, 0),
    Schedule(3, 2, 2),
    Schedule(4, 3, 1),
)


@EACH_CELL
def test_cpu_equals_reference(cell: str) -> None:
    @given(cases_of(cell), st.sampled_from(SAVING))
    @settings(max_examples=100, deadline=None)
    def check(case: RecurrentCase, save: str) -> None:
        expected = case.run(reference, dtype="float64", save=save)
        for actual, wanted in zip(case.run(cpu, save=save), expected, strict=True):
            assert actual.dtype == case.dtype
            assert_close(actual, wanted, case.dtype)

    check()


@EACH_CELL
def test_sharing_does_not_change_a_bit(cell: str) -> None:
    @given(cases_of(cell), st.sampled_from(SAVING), st.sampled_from(SCHEDULES[1:]))
    @settings(max_examples=60, deadline=None)
    def check(case: RecurrentCase, save: str, schedule: Schedule) -> None:
        alone = case.run(cpu, save=save)
        longest = int(case.valid.sum(axis=1).max(initial=0))
        schedule = schedule._replace(join=min(schedule.join, longest))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "make_schedule", lambda *_: schedule)
            shared = case.run(cpu, threads=schedule.threads, save=save)
        for a, b in zip(alone, shared, strict=True):
            np.testing.assert_array_equal(a, b)

    check()


@pytest.mark.parametrize(
    ("vectors", "threads", "panels"),
    [(0, 2, 0), (3, 8, 3), (4, 1, 1), (8, 2, 2), (9, 1, 3), (10, 2, 4), (12, 2, 4), (12, 3, 3)],
)
def test_threads_have_as_many_panels_each(vectors: int, threads: int, panels: int) -> None:
    assert panels_of(vectors, 4, threads) == panels


def test_gates_are_saved_before_their_memory_is_used_again() -> None:
    """Other threads may be one step ahead, in a block of steps elsewhere in memory."""
    case = FORMS["lstm"](9, 20, 5, 130, kind="left")
    alone = case.run(cpu, save="gates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_schedule", lambda *_: Schedule(2, 0, 0))
        for _ in range(400):
            for a, b in zip(alone, case.run(cpu, threads=2, save="gates"), strict=True):
                np.testing.assert_array_equal(a, b)


def test_masked_outputs_are_complete_when_a_shared_call_returns() -> None:
    """One thread may still be writing long rows of them when the first has finished its own."""
    case = LSTMCase(24, 20_000, 3, 64, kind="empty", sequences=False)
    case.sequences = True  # so many outputs need no gradients
    rng = np.random.default_rng(7)
    for row in range(case.batch):
        steps = rng.choice(case.time // 2, 2, replace=False)
        case.valid[row, steps], case.x[row, steps] = True, rng.normal(size=(2, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_schedule", lambda *_: Schedule(2, 2, 99))
        for _ in range(40):  # a worker does not join each time
            out = case.run(cpu, threads=2)[0]
            assert not np.isnan(out[:, -1]).any()  # checked at once, the part written last
    assert not np.isnan(out).any()


def test_the_caller_waits_for_masked_outputs_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without workers: another thread has started a chunk and not finished it."""
    rows, of_others = 20, layer.ROWS_OF_A_CHUNK
    control = {layer.NEXT_ROW: of_others, layer.ROWS_DONE: 0}
    written = set()

    def add(counters: dict[int, int], counter: int, more: int) -> int:
        before = counters[counter]
        counters[counter] += more
        return before

    def wait(counters: dict[int, int], counter: int, goal: int) -> None:
        assert counters[counter] < goal  # not all chunks are finished
        written.update(range(of_others))
        counters[counter] += of_others
        assert counters[counter] >= goal

    monkeypatch.setattr(layer, "atomic_add", add)
    monkeypatch.setattr(layer, "wait_for", wait)
    monkeypatch.setattr(layer, "fill_masked", lambda _, row: written.add(row))
    layer._fill_masked_rows.py_func(None, control, rows, 0)
    assert written == set(range(rows))


@EACH_FORM
@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("sizes", [(33, 40, 24, 64), (2, 300, 64, 96), (70, 20, 16, 130)])
def test_larger_batches_on_all_threads(kind: str, sizes: tuple[int, ...], cell: str) -> None:
    case = FORMS[cell](*sizes, kind=kind)
    alone = case.run(cpu, threads=1, save="gates")
    for threads in (2, 3, 7):
        for a, b in zip(alone, case.run(cpu, threads=threads, save="gates"), strict=True):
            np.testing.assert_array_equal(a, b)
    expected = case.run(reference, dtype="float64", save="gates")
    for actual, wanted in zip(alone, expected, strict=True):
        assert_close(actual, wanted, case.dtype)


@EACH_FORM
def test_a_row_does_not_depend_on_its_neighbors(cell: str) -> None:
    case = FORMS[cell](30, 12, 9, 40, kind="holes")
    together = case.run(cpu)
    for row in (0, 7, 29):
        alone = FORMS[cell](30, 12, 9, 40, kind="holes")
        keep = slice(row, row + 1)
        alone.batch, alone.x, alone.valid = 1, case.x[keep], case.valid[keep]
        alone.states = [s[keep] for s in case.states]
        for a, b in zip(alone.run(cpu), together, strict=True):
            np.testing.assert_array_equal(a, b[keep])


@EACH_FORM
def test_a_gap_costs_nothing_but_its_place(cell: str) -> None:
    """Any mask gives the same bits as rows without their gaps."""
    holes = FORMS[cell](12, 30, 5, 20, kind="holes", seed=3)
    counts = holes.valid.sum(axis=1)
    packed = FORMS[cell](12, 30, 5, 20, kind="right")
    packed.weights, packed.states = holes.weights, holes.states
    packed.valid = np.arange(30) < counts[:, np.newaxis]
    packed.x = np.full_like(holes.x, np.nan)
    packed.x[packed.valid] = holes.x[holes.valid]
    a, b = holes.run(cpu), packed.run(cpu)
    np.testing.assert_array_equal(a[0][holes.valid], b[0][packed.valid])
    np.testing.assert_array_equal(a[1:], b[1:])


@EACH_FORM
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_inf_at_valid_steps_propagate_as_in_numpy(dtype: str, cell: str) -> None:
    for seed, poison in enumerate((np.nan, np.inf, -np.inf)):
        case = FORMS[cell](9, 8, 4, 33, kind="right", seed=seed, dtype=dtype)
        rows, times = np.nonzero(case.valid)
        case.x[rows[::5], times[::5], seed] = poison
        with np.errstate(invalid="ignore"):
            expected = case.run(reference, dtype="float64")
        for actual, wanted in zip(case.run(cpu), expected, strict=True):
            assert_close(actual, wanted, dtype)
        assert np.isnan(expected[0]).any() == np.isnan(poison)


@pytest.mark.parametrize("gate", [0, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_shut_gate_times_infinity_is_nan(dtype: str, gate: int) -> None:
    case = LSTMCase(1, 1, 1, 1, kind="full", dtype=dtype, activation="linear")
    case.weights[2][:] = 0
    case.weights[2][gate] = -1e3  # exp(1e3) overflows
    case.weights[2][2] = np.inf
    with np.errstate(invalid="ignore"):
        assert np.isnan(case.run(reference)[0]).all()
    assert np.isnan(case.run(cpu)[0]).all()


@EACH_FORM
def test_extreme_states_and_gates_stay_finite(cell: str) -> None:
    case = FORMS[cell](6, 5, 3, 17)
    case.x *= 1e4
    case.states[-1][:] = 1e30
    expected = case.run(reference, dtype="float64")
    for actual, wanted in zip(case.run(cpu), expected, strict=True):
        assert_close(actual, wanted, "float32")


def test_eight_threads_at_once() -> None:
    cases = [LSTMCase(40, 50, 32, 64, kind="holes", seed=seed) for seed in range(8)]
    expected = [case.run(cpu) for case in cases]
    start = threading.Barrier(8)

    def run(case: LSTMCase) -> list[list[Any]]:
        start.wait()
        return [case.run(cpu, threads=2) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        for runs, wanted in zip(pool.map(run, cases), expected, strict=True):
            for outputs in runs:
                for a, b in zip(outputs, wanted, strict=True):
                    np.testing.assert_array_equal(a, b)


def _run_in_child(queue: Any, case: LSTMCase) -> None:
    queue.put(case.run(cpu, threads=2))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_call_after_fork() -> None:
    case = LSTMCase(40, 50, 32, 64, kind="right")
    expected = case.run(cpu, threads=2)  # starts workers, which the child does not have
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_run_in_child, args=(queue, case))
    child.start()
    for a, b in zip(queue.get(), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    child.join()
    assert child.exitcode == 0


def _arguments(case: LSTMCase) -> dict[str, Any]:
    size = cpu.lstm_packed_size(case.features, case.units, np.dtype(case.dtype))
    packed = np.empty(size, case.dtype)
    cpu.lstm_pack(packed, *case.weights)
    offsets, steps, order = plan_of(case.valid)
    return {
        "out": np.empty((case.batch, case.time, case.units), case.dtype),
        "h_last": np.empty((case.batch, case.units), case.dtype),
        "c_last": np.empty((case.batch, case.units), case.dtype),
        "h_steps": np.empty((0, case.units), case.dtype),
        "c_steps": np.empty((0, case.units), case.dtype),
        "gates": np.empty((0, 4 * case.units), case.dtype),
        "x": case.x,
        "offsets": offsets,
        "steps": steps,
        "order": order,
        "packed": packed,
        "h_first": case.states[0],
        "c_first": case.states[1],
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "reverse": False,
        "zero_masked": False,
        "threads": 1,
    }


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("offsets", np.array([1, 3, 5, 8, 9]), "begin with 0"),
        ("offsets", np.array([0, 3, 5, 8, 99]), "end within steps"),
        ("offsets", np.array([0, 8, 5, 6, 9]), "not decrease"),
        ("offsets", np.array([0, 10**15, 5, 6, 9]), "not decrease"),
        ("offsets", np.array([0, 0, 5, 10, 20]), "more valid steps first"),
        ("order", np.array([0, 1, 2, 2]), "every row once"),
        ("order", np.array([0, 1, 2, 4]), "every row once"),
        ("order", np.array([-1, 1, 2, 3]), "every row once"),
        ("steps", np.zeros(20, np.int64), "ascend"),
        ("steps", np.arange(20) + 5, "ascend"),
        ("steps", np.arange(20) - 1, "ascend"),
        ("packed", np.zeros(7, np.float32), "lstm_pack"),
        ("out", np.zeros((4, 2, 3), np.float32), r"out .* S is T=5 or 0, not S=2"),
        ("h_first", np.zeros((4, 5), np.float32), "h_first"),
        ("x", np.zeros((4, 5, 2), np.float32)[:, ::-1], "x must be C-contiguous"),
        ("activation", "softmax", "activation must be one of"),
        ("threads", 0, "threads must be at least 1"),
    ],
)
def test_wrong_arguments_raise(name: str, value: Any, error: str) -> None:
    arguments = _arguments(LSTMCase(4, 5, 2, 3)) | {name: value}
    with pytest.raises(ValueError, match=error):
        cpu.lstm_fwd(**arguments)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("x", np.zeros((4, 5, 2), np.float64), "dtype"),
        ("x", np.zeros((4, 5, 2), np.int32), "float32"),
        ("x", [[1.0]], "x must be a NumPy array"),
        ("steps", np.zeros(20, np.int32), "steps must have dtype int64"),
    ],
)
def test_wrong_types_raise(name: str, value: Any, error: str) -> None:
    arguments = _arguments(LSTMCase(4, 5, 2, 3)) | {name: value}
    with pytest.raises(TypeError, match=error):
        cpu.lstm_fwd(**arguments)
