"""How workers sleep, are woken, and leave."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmask_kernels.cpu.parallel import pool as _pool
from fastmask_kernels.cpu.parallel import queue as _queue
from fastmask_kernels.cpu.parallel import workers as _workers
from fastmask_kernels.cpu.parallel.queue import (
    ALONE,
    CONTROL,
    FIRST_WORKER,
    INSIDE,
    LISTENERS,
    STILL_INSIDE,
    SUBMITTED,
    WORKER_WORDS,
    WORKERS,
    new_queue,
    slot_start,
)
from fastmask_kernels.cpu.parallel.workers import (
    ASLEEP,
    CLOSE_CALLS,
    COMING,
    LAST,
    STATE,
    WANTED,
)

from .shared_calls import linger, meet, run_shared, state_of, wait_until


class Plain:
    """Atomics and locks without threads, for kernels that run as plain Python."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = set(range(2, 10))  # locks of workers that sleep
        self.released = 0
        self.stored: Callable[[], None] = lambda: None
        fakes: dict[str, Callable[..., Any]] = {
            "atomic_load": lambda array, place: int(array[place]),
            "atomic_add": self.add,
            "atomic_replace": self.replace,
            "atomic_store": self.store,
            "_new_lock": lambda: 1,
            "_acquire": self.acquire,
            "_release": self.release,
            "nanoseconds": lambda: 10 * CLOSE_CALLS,
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(_workers, name, fake)

    def add(self, array: Any, place: int, amount: int) -> int:
        array[place] += amount
        return int(array[place]) - amount

    def replace(self, array: Any, place: int, old: int, new: int) -> bool:
        if array[place] != old:
            return False
        array[place] = new
        return True

    def store(self, array: Any, place: int, value: int) -> None:
        array[place] = value
        self.stored()

    def acquire(self, lock: int, _: int) -> None:
        if lock in self.taken:
            raise BlockingIOError("asleep")
        self.taken.add(lock)

    def release(self, lock: int) -> None:
        self.released += 1
        self.taken.remove(lock)  # an error if it is free


@pytest.mark.parametrize(
    ("patient", "recent", "listening", "coming", "provider", "woken"),
    [
        (True, False, 0, 0, WORKERS, 3),
        (True, False, 1, 0, WORKERS, 2),
        (True, False, 1, 1, WORKERS, 1),
        (True, True, 3, 0, WORKERS, 0),
        (False, False, 0, 0, ALONE, 0),
        (False, True, 0, 0, ALONE, 3),  # for the next call
        (False, True, 0, 3, ALONE, 0),
        (False, False, 1, 0, WORKERS, 0),
        (False, True, 2, 0, WORKERS, 1),
    ],
)
def test_who_is_woken(
    patient: bool,
    recent: bool,
    listening: int,
    coming: int,
    provider: int,
    woken: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, queue = Plain(monkeypatch), new_queue()
    queue[LISTENERS], queue[COMING] = listening, coming
    queue[LAST] = 9.5 * CLOSE_CALLS if recent else 0
    states = queue[FIRST_WORKER:].reshape(-1, WORKER_WORDS)
    states[:6, _workers.LOCK] = range(2, 8)
    states[1:5, STATE] = ASLEEP
    assert _workers.find_workers.py_func(queue, 3, patient) == provider
    assert plain.released == woken == queue[COMING] - coming
    assert (states[:6, STATE] == ASLEEP).sum() == 4 - woken
    assert queue[WANTED] == (3 if listening < 3 and (patient or recent) else 0)


@pytest.mark.parametrize(("called", "submitted"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_worker_about_to_sleep_listens_again(
    called: int, submitted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller wakes it, or submits a call, just after it set its state to ASLEEP."""
    plain, queue, heard = Plain(monkeypatch), new_queue(), []

    def listen(queue: Any, seen: int) -> int:
        assert queue[LISTENERS] == 1
        heard.append(seen)
        return int(queue[SUBMITTED])

    def stored() -> None:
        if len(heard) == 1:
            queue[SUBMITTED] += submitted
            if called:
                queue[LISTENERS] = 0  # as a caller would see it a moment later
                assert _workers.find_workers.py_func(queue, 1, True) == WORKERS
                queue[LISTENERS] = 1

    monkeypatch.setattr(_workers, "_listen", listen)
    plain.stored = stored
    with pytest.raises(BlockingIOError):
        _workers.find_or_work._function(queue, 0, False)
    assert len(heard) == 1 + (called or submitted)
    assert plain.released == called
    assert queue[COMING] == queue[LISTENERS] == 0
    assert queue[FIRST_WORKER + STATE] == ASLEEP


def test_more_workers_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    Plain(monkeypatch)
    queue = new_queue()
    queue[_workers.ARRIVED] = len(queue) - FIRST_WORKER
    _workers.find_or_work._function(queue, 0, False)
    assert not queue[FIRST_WORKER:].any()


def sleepers() -> int:
    states = _pool.pool.queue[FIRST_WORKER:].reshape(-1, WORKER_WORDS)
    return int((states[:, STATE] == ASLEEP).sum())


@pytest.mark.usefixtures("own_pool")
def test_a_worker_comes_though_the_interpreter_is_busy() -> None:
    queue = _pool.pool.queue
    _pool.pool.find(1, patient=True)
    wait_until(lambda: sleepers() == 1)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        _pool.pool.find(1, patient=True)
        end = time.monotonic() + 20
        while queue[COMING] and time.monotonic() < end:  # no other thread runs Python meanwhile
            pass
        assert not queue[COMING]
    finally:
        sys.setswitchinterval(before)


@pytest.mark.usefixtures("own_pool")
@pytest.mark.parametrize("rounds", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_no_wake_is_lost(rounds: int) -> None:
    pool, queue, done = _pool.pool, _pool.pool.queue, []

    def call(seed: int) -> None:
        generator = random.Random(seed)
        for _ in range(rounds):
            for _ in range(generator.randrange(15_000)):  # workers listen, fall asleep, or sleep
                pass
            pool.find(2, patient=True)
            end = time.monotonic() + 30
            while queue[COMING] and time.monotonic() < end:
                time.sleep(0)
        done.append(seed)

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(done) == [0, 1]
    wait_until(lambda: sleepers() == 2)
    assert queue[COMING] == queue[LISTENERS] == 0
    assert run_shared(meet, 3, 1)[0] == 1


@pytest.mark.usefixtures("own_pool")
def test_memory_of_others_is_given_back_when_nobody_reads_it() -> None:
    late = 7
    for _ in range(20_000):
        seen, state = state_of(linger, 2, late)
        if seen[1]:
            break
    assert state == STILL_INSIDE
    settled = threading.Event()

    def settle() -> None:
        _pool.pool.settle()
        settled.set()

    waiting = threading.Thread(target=settle)
    waiting.start()
    assert not settled.wait(0.02)
    seen[late] = 1
    assert settled.wait(60)
    waiting.join()
    assert not _pool.pool.calls


def test_compiled_code_waits_for_its_own_call(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, control, waited = new_queue(), np.zeros(1, np.int64), []
    for slot in range(2):
        queue[slot_start(slot) + INSIDE] = 1
    queue[slot_start(1) + CONTROL] = control.ctypes.data

    def leave() -> None:
        waited.append(1)
        queue[slot_start(1) + INSIDE] = len(waited) < 3

    monkeypatch.setattr(_queue, "yield_thread", leave)
    monkeypatch.setattr(_queue, "atomic_add", lambda array, place, _: int(array[place]))
    _queue.settle.py_func(queue, control)
    assert len(waited) == 3


FORK_AND_EXIT = """
import os, sys, time, warnings
from fastmask_kernels.cpu.parallel import pool as _pool
from fastmask_kernels.cpu.parallel.queue import FIRST_WORKER
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads: this is the test

def wake_and_wait():
    queue = _pool.pool.queue
    _pool.pool.find(2, patient=True)
    while list(queue[FIRST_WORKER : FIRST_WORKER + 6 : 2]) != [1, 1, 0]:
        time.sleep(0.001)
    return queue.ctypes.data

place = wake_and_wait()
child = os.fork() if hasattr(os, "fork") else -1
if child >= 0:
    assert _pool.pool._started == (0 if child == 0 else 2)
    assert wake_and_wait() == place
if child > 0:
    assert os.waitpid(child, 0)[1] == 0
"""

FINALIZER_AT_EXIT = """
import gc
from fastmask_kernels.cpu.parallel.pool import pool

class Late:
    def __init__(self):
        self.itself, self.find, self.print = self, pool.find, print
    def __del__(self):
        self.print("found", self.find(3, True), flush=True)

gc.disable()
pool.find(1, True)
Late()
"""


def test_a_finalizer_at_exit_waits_for_no_new_worker() -> None:
    command = [sys.executable, "-c", FINALIZER_AT_EXIT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["found", str(WORKERS)], "")


@pytest.mark.slow
def test_processes_end_and_fork_while_workers_sleep() -> None:
    command = [sys.executable, "-c", FORK_AND_EXIT]
    done = subprocess.run(
        command, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
