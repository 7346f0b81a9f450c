"""The memory of a call beyond its arguments is bounded, whatever its rows and threads."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastmask_kernels import cells, cpu
from fastmask_kernels.cpu.parallel import pool as _pool
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.queue import LEFT
from fastmask_kernels.cpu.parallel.schedule import MOST_THREADS, Schedule, make_schedule
from fastmask_kernels.cpu.rnn import cells as rnn_cells
from fastmask_kernels.cpu.rnn import (
    groups,
    ranks,
    step,
)
from fastmask_kernels.cpu.rnn.backward_calls import BackwardPass
from fastmask_kernels.cpu.rnn.cells import compiled_of
from fastmask_kernels.cpu.rnn.columns import columns_of

from ..cases import MASK_KINDS, RecurrentCase, make_mask, plan_of
from ..each import EACH_FORM, FORMS

Array = NDArray[Any]
CELLS = {
    "lstm": cells.lstm,
    "gru": cells.gru,
    "gru_before": cells.gru_reset_before,
    "rnn": cells.simple_rnn,
}
KERNELS = {name: compiled_of(cell).layer for name, cell in CELLS.items()}
MEGABYTE = 1 << 20
DTYPES = ("float32", "float64")


def schedule_of(rows: int, time: int, units: int, threads: int) -> Schedule:
    """The schedule for full rows."""
    return make_schedule(lambda *_: time, None, rows, rows * time, 16, units, 4, 4, threads)


def forward_bytes(cell: str, rows: int, time: int, units: int, dtype: str, threads: int) -> int:
    """Bytes that a forward call allocates."""
    schedule = schedule_of(rows, time, units, threads)
    kind = np.dtype(dtype)
    sizes = KERNELS[cell].sizes(
        rows, 16, units, kind, schedule.threads, schedule.groups, schedule.common
    )
    return sizes.reals * kind.itemsize + sizes.integers * 8


def backward_bytes(cell: str, rows: int, time: int, units: int, dtype: str, threads: int) -> int:
    """Bytes that a backward call allocates, without packed weights."""
    schedule = schedule_of(rows, time, units, threads)
    sizes = rows, 16, units, np.dtype(dtype)
    dealt = schedule.threads, schedule.groups, schedule.common
    _, _, reals, integers, _ = BackwardPass(columns_of(CELLS[cell]))._find_sizes(*sizes, *dealt)
    return reals * np.dtype(dtype).itemsize + integers * 8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bytes_of", [forward_bytes, backward_bytes])
@EACH_FORM
def test_memory_is_bounded_a_thread(cell: str, bytes_of: Callable[..., int], dtype: str) -> None:
    for units, each in ((4, 2), (64, 3), (512, 16 if dtype == "float64" else 8)):
        for threads in (1, 8, 64, MOST_THREADS):
            most = (1 + threads * each) * MEGABYTE
            for rows, time in ((10, 1000), (500, 3), (100_000, 1), (4_000_000, 1)):
                assert bytes_of(cell, rows, time, units, dtype, threads) < most


@EACH_FORM
def test_memory_of_one_thread_does_not_grow_with_rows(cell: str) -> None:
    wanted = [forward_bytes(cell, rows, 1, 512, "float32", 1) for rows in (2048, 100_000, 10**7)]
    assert max(wanted) < wanted[0] + 2 * MEGABYTE


def traced(call: Callable[[], Any]) -> int:
    """The peak memory of a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("threads", [1, 6])
@EACH_FORM
def test_a_call_of_many_rows(cell: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole call, forward and backward: 40 MB of states, and at least as much for gates."""
    case = FORMS[cell](160_000, 1, 3, 16, kind="right")
    with monkeypatch.context() as patch:  # arrays that are not the kernels' own are made before
        calls: list[Callable[[], Any]] = []
        for name in (f"{case.cell}_fwd", f"{case.cell}_bwd"):
            kernel = getattr(cpu, name)
            patch.setattr(cpu, name, lambda *a, k=kernel: (k(*a), calls.append(lambda: k(*a))))
        case.run_backward(cpu, threads, save="states")
    for call in calls:
        assert traced(call) < (12 + 2 * threads) * MEGABYTE


def test_a_step_of_few_rows_on_many_threads() -> None:
    """The threads have one set of states, not one each."""
    rows, units, threads = 384, 256, 64
    schedule = schedule_of(rows, 1, units, threads)
    assert schedule.join == 0
    states = [np.zeros((rows, units), np.float32) for _ in range(2)]
    packed = np.zeros(cpu.lstm_packed_size(16, units, np.dtype("float32")), np.float32)
    arguments = (*states, np.zeros((rows, 16), np.float32), np.empty(0, bool), packed)
    cpu.lstm_step(*arguments, "tanh", "sigmoid", 1)  # compiles
    step._kept._arrays.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "run", lambda *_: LEFT)
        size = traced(lambda: cpu.lstm_step(*arguments, "tanh", "sigmoid", threads))
    assert size < 10 * MEGABYTE


def test_a_thread_keeps_little_scratch() -> None:
    kept = step._Kept()
    small, large = np.empty(1000), np.empty(step.KEPT_BYTES, np.int64)
    kept.give_back(small, large)
    assert kept.take(1000, small.dtype) is small
    assert kept.take(len(large), large.dtype) is not large
    kept.give_back(small)
    assert len(kept.take(1001, small.dtype)) >= 1001


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let groups have three rows and more with many threads."""
    monkeypatch.setattr(groups, "GROUP_ROWS", 3)
    monkeypatch.setattr(groups, "GROUP_BYTES", 1)
    for kernel in KERNELS.values():
        kernel.sizes.cache_clear()  # type: ignore[attr-defined]  # an lru_cache
    yield
    for kernel in KERNELS.values():
        kernel.sizes.cache_clear()  # type: ignore[attr-defined]  # an lru_cache


def both_ways(case: RecurrentCase, schedule: Schedule) -> list[Array]:
    """All outputs of a forward and a backward call, with threads that follow the schedule."""
    lengths = np.sort(case.valid.sum(axis=1))[::-1]
    join = min(schedule.join, int(lengths.max(initial=0)))
    common = int((lengths > join).sum()) if schedule.groups else len(lengths)
    told = schedule._replace(join=join, common=common)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_schedule", lambda *_: told)
        return [
            *case.run(cpu, threads=schedule.threads, save="gates"),
            *case.run_backward(cpu, threads=schedule.threads),
        ]


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("kind", MASK_KINDS)
@EACH_FORM
def test_the_size_of_groups_does_not_change_a_bit(cell: str, kind: str) -> None:
    for reverse in (False, True):
        case = FORMS[cell](50, 6, 5, 37, kind=kind, seed=3, reverse=reverse)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(groups, "GROUP_ROWS", 1000)
            whole = both_ways(case, Schedule(1, 1, 99))
        for kernel in KERNELS.values():
            kernel.sizes.cache_clear()  # type: ignore[attr-defined]  # an lru_cache
        for schedule in (
            Schedule(1, 1, 99),
            Schedule(2, 2, 99),
            Schedule(3, 4, 2),
            Schedule(2, 0, 0),
        ):
            for a, b in zip(both_ways(case, schedule), whole, strict=True):
                np.testing.assert_array_equal(a, b)


@EACH_FORM
def test_many_rows_without_steps_beside_few_long_ones(cell: str) -> None:
    """The kernels themselves decide that threads share all steps of the long rows."""
    for time in (1, 40):
        case = FORMS[cell](80, time, 30, 260, kind="full", seed=11)
        case.valid[5:] = False
        case.x[~case.valid] = np.nan
        case.dout[~case.counted] = np.nan
        found = [*case.run(cpu, 4, save="gates"), *case.run_backward(cpu, 4)]
        alone = [*case.run(cpu, 1, save="gates"), *case.run_backward(cpu, 1)]
        for a, b in zip(found, alone, strict=True):
            assert not np.isnan(a).any()
            np.testing.assert_array_equal(a, b)
        for state, given in zip(found[1:], case.states, strict=False):
            np.testing.assert_array_equal(state[5:], given[5:])


def test_every_row_is_in_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUP_ROWS", 4)
    for rows in (1, 2, 7, 16, 33, 100):
        for dealt in (1, 2, 3, 7):
            found = groups.deal(rows, dealt, 5, groups.GROUP_BYTES)
            assert found.rows <= 4
            assert found.number == dealt * -(-found.number // dealt)
            assert found.window * (found.number // dealt) >= rows
            assert found.slots(3) == min(rows, 5) + 3 * found.rows


@pytest.mark.parametrize("words", [1, 2, 1000])
def test_orders_longer_than_their_check(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_SEEN_WORDS", words)
    rng = np.random.default_rng(0)
    offsets, steps, order = plan_of(make_mask("holes", 300, 4, rng))
    ranks.check_plan(offsets, steps, order, 4)
    for place in (0, 63, 64, 150, 298):
        for bad in (order[place + 1], -1, 300):
            wrong = order.copy()
            wrong[place] = bad
            with pytest.raises(ValueError, match="every row once"):
                ranks.check_plan(offsets, steps, wrong, 4)


@pytest.mark.parametrize("kind", MASK_KINDS)
@EACH_FORM
def test_gates_are_saved_again_in_parts(
    cell: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reverse in (False, True):
        case = FORMS[cell](*(9, 11, 5, 20), kind=kind, seed=5, dtype="float64", reverse=reverse)
        whole = case.run_backward(cpu, save="gates")
        with monkeypatch.context() as patch:
            patch.setattr(rnn_cells, "PART_ROWS", 2)
            patch.setattr(rnn_cells, "PART_BYTES", 1)
            parts = case.run_backward(cpu, save="states")
        for a, b in zip(parts, whole, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_part_waits_for_the_memory_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    layer = rnn_cells.run_layer
    monkeypatch.setattr(rnn_cells, "PART_ROWS", 3)
    monkeypatch.setattr(rnn_cells, "PART_BYTES", 1)
    monkeypatch.setattr(rnn_cells, "run_layer", lambda *a: (layer(*a), order.append("part")))
    monkeypatch.setattr(_pool.pool, "settle", lambda: order.append("settled"))
    FORMS["lstm"](9, 11, 5, 20, kind="right", seed=6).run_backward(cpu, 2, save="states")
    forward, *again = order
    assert (forward, again) == ("part", ["part", "settled", "part", "settled", "part"])
