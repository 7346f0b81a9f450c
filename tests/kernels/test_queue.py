"""Calls that threads share: which threads come, to which slot of the queue, and errors."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from fastmask_kernels.cpu.parallel import barrier as _barrier
from fastmask_kernels.cpu.parallel import pool as _pool
from fastmask_kernels.cpu.parallel import queue as _queue
from fastmask_kernels.cpu.parallel.barrier import control_size
from fastmask_kernels.cpu.parallel.queue import (
    INSIDE,
    OPEN,
    SLOTS,
    STILL_INSIDE,
    TAKEN,
    slot_start,
)

from .shared_calls import fail, linger, meet, run_shared, state_of

pytestmark = pytest.mark.usefixtures("own_pool")
TRIES = 20_000  # a worker that is about to sleep, or has no core, may miss a call


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_come_once_each(threads: int) -> None:
    for _ in range(TRIES):
        seen = run_shared(meet, threads, threads)
        assert seen[0] == seen.max() == 1
        assert not seen[threads:].any()
        if seen.sum() == threads:
            return
    pytest.fail("not all workers came")


def test_a_call_does_not_wait_for_helpers() -> None:
    late = 7
    for _ in range(TRIES):
        seen, state = state_of(linger, 2, late)
        if seen[1]:  # a worker came, and stays until it is released
            assert state == STILL_INSIDE
            assert len(_pool.pool.calls) == 1  # with the arguments that it may still read
            seen[late] = 1
            return
    pytest.fail("no worker came")


def test_a_slot_with_a_helper_inside_is_not_taken() -> None:
    queue = _pool.pool.queue
    queue[slot_start(0) + INSIDE] = 1
    for _ in range(20):
        run_shared(meet, 2, 1)
        assert not queue[slot_start(0) + _queue.FUNCTION]
    assert queue[slot_start(1) + _queue.FUNCTION]
    queue[slot_start(0) + INSIDE] = 0


def test_without_a_free_slot_a_call_works_alone() -> None:
    queue = _pool.pool.queue
    for start in map(slot_start, range(SLOTS)):
        queue[start + TAKEN] = 1
    for _ in range(20):
        assert run_shared(meet, 3, 1)[:3].tolist() == [1, 0, 0]
    for start in map(slot_start, range(SLOTS)):
        queue[start + TAKEN] = 0


def test_a_helper_looks_again_once_it_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller may have closed the slot after the first check, and be gone."""
    queue, start = _pool.pool.queue, slot_start(2)
    queue[start + _queue.THREADS] = 9
    entered = []

    def add(array: Any, index: int, amount: int) -> int:
        before = int(array[index])
        array[index] += amount
        entered.append((index - start, before, amount))
        return before

    def call(*_: Any) -> None:
        raise AssertionError("nobody wants help any more")

    monkeypatch.setattr(_queue, "atomic_load", lambda *_: 1)  # the first check saw an open slot
    monkeypatch.setattr(_queue, "atomic_add", add)
    monkeypatch.setattr(_queue, "_call", call)
    assert not _queue.join.py_func(queue, start)
    assert entered == [(INSIDE, 0, 1), (OPEN, 0, 0), (INSIDE, 1, -1)]


def test_a_finished_chunk_is_kept_before_others_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that sees it finished starts the next phase, in which it must be claimed already."""
    control = np.zeros(control_size(2), np.int64)
    stores: list[tuple[int, int]] = []

    def store(array: Any, index: int, value: int) -> None:
        assert array is control
        stores.append((index - _barrier.CHUNKS - _barrier.CHUNK_WORDS, value))

    monkeypatch.setattr(_barrier, "atomic_store", store)
    _barrier.announce.py_func(_barrier.Team(control, None, 1, 2), 5, 1)
    assert stores == [(_barrier.CLAIMED, 6), (_barrier.FINISHED, 5)]
    assert control[_barrier.CHUNKS + _barrier.CHUNK_WORDS + _barrier.KEPT] == 6


def test_more_calls_at_once_than_slots() -> None:
    def many() -> None:
        results.extend([run_shared(meet, 2, 1)[:2].tolist() for _ in range(100)])

    results: list[list[int]] = []
    callers = [threading.Thread(target=many) for _ in range(2 * SLOTS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 200 * SLOTS
    assert all(first == 1 and second <= 1 for first, second in results)


def test_an_error_in_a_helper_is_raised() -> None:
    message, failed = "", 0
    for _ in range(TRIES):
        try:
            run_shared(fail, 2, 1)
        except RuntimeError as error:
            message = str(error)
            failed += 1
        if failed == 3:
            break
    assert "a thread of this call failed; FASTMASK_NUM_THREADS=1" in message


def test_an_error_in_the_caller_is_raised() -> None:
    for _ in range(5):
        with pytest.raises(RuntimeError, match="a thread of this call failed"):
            run_shared(fail, 2, 0)
    with pytest.raises(ValueError, match="this thread fails"):
        run_shared(fail, 1, 0)  # with one thread the error is raised as it is


def test_without_threads_a_call_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(2):
        assert run_shared(meet, 2, 1)[:2].tolist() == [1, 0]
    assert _pool.pool._started == 0
