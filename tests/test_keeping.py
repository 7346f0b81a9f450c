"""Caches of results with a limit in bytes, among them the plans of full batches."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest

from fastmask.backends import plan as _plan
from fastmask.backends.keeping import ENTRY_BYTES, Keeping

ROOM = 10 * ENTRY_BYTES


class Squares:
    """Counts how often each result is made."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, n: int) -> list[int]:
        self.made.append(n)
        return [n * n]


def test_latest_results_are_kept() -> None:
    squares = Squares()
    keeping = Keeping(squares, lambda _: 4 * ENTRY_BYTES, ROOM)  # room for two
    first = keeping(1)
    assert keeping(1) is first
    keeping(2), keeping(1), keeping(3), keeping(2), keeping(3)
    assert squares.made == [1, 2, 3]
    assert keeping(1) == [1]
    assert squares.made == [1, 2, 3, 1]
    assert keeping.cache_info() == (2, ROOM)
    keeping.cache_clear()
    assert keeping.cache_info() == (0, 0)


def test_what_is_too_large_is_not_kept_and_drives_nothing_out() -> None:
    squares = Squares()
    keeping = Keeping(squares, lambda n: n, ROOM)
    keeping(1), keeping(ROOM), keeping(ROOM), keeping(1)
    assert squares.made == [1, ROOM, ROOM]


def test_many_small_results_are_not_kept_for_ever() -> None:
    keeping = Keeping(Squares(), lambda _: 0, ROOM)
    for n in range(100):
        keeping(n)
    assert keeping.cache_info().currsize == 10


def test_threads_find_right_results() -> None:
    keeping = Keeping(lambda n: [n], lambda _: 2 * ENTRY_BYTES, ROOM)
    wrong: list[int] = []

    def ask(seed: int) -> None:
        asked = np.random.default_rng(seed).integers(0, 9, 2000).tolist()
        wrong.extend(n for n in asked if keeping(n) != [n])

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert keeping.cache_info().size <= ROOM


def test_full_plans_are_read_only_and_made_once() -> None:
    plan = _plan.full_plan(3, 5)
    assert _plan.full_plan(3, 5) is plan
    assert [array.nbytes for array in plan] == [32, 120, 24]
    assert sum(array.nbytes for array in plan) == _plan.full_plan_size(3, 5)
    for array in plan:
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_full_plans_of_all_sizes_take_little_memory() -> None:
    _plan.full_plan.cache_clear()
    tracemalloc.start()
    try:
        for batch in (1, 10, 1000, 100_000, 400_000):
            for time in range(1, 6):
                assert len(_plan.full_plan(batch, time).steps) == batch * time
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak > 2 * _plan.MOST_KEPT
    assert left < 2 * _plan.MOST_KEPT
