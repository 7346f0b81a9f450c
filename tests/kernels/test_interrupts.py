"""Interrupts, finalizers and failures in the middle of shared calls leak nothing."""

from __future__ import annotations

import gc
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cpu
from fastmask_kernels.cpu.parallel import pool as _pool
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.schedule import Schedule
from fastmask_kernels.cpu.rnn import backward_calls, calls, step

from ..each import FORMS
from .shared_calls import meet, run_shared

pytestmark = pytest.mark.usefixtures("own_pool")


def raising_at(event: int, modules: tuple[Any, ...]) -> Callable[..., Any]:
    """A trace function that raises KeyboardInterrupt at the given bytecode of some modules."""
    left = itertools.count(event, -1)
    names = {module.__name__ for module in modules}

    def local(frame: Any, kind: str, _: Any) -> Any:
        frame.f_trace_opcodes = True
        if kind == "opcode" and next(left) == 0:
            raise KeyboardInterrupt
        return local

    def enter(frame: Any, *_: Any) -> Any:
        if frame.f_globals.get("__name__") not in names:
            return None
        frame.f_trace_opcodes = True
        return local

    return enter


def interrupt_everywhere(call: Callable[[], object], *modules: Any) -> int:
    """Repeat a call, interrupted one bytecode later each time; returns the number of interrupts."""
    before = sys.gettrace()
    for event in range(100_000):
        sys.settrace(raising_at(event, modules))
        try:
            call()
        except KeyboardInterrupt:
            continue
        finally:
            sys.settrace(before)
        return event
    raise AssertionError("the call does not end")


def test_an_interrupt_at_any_bytecode_loses_nothing() -> None:
    run_shared(meet, 2, 1)
    assert interrupt_everywhere(lambda: run_shared(meet, 2, 1), run, _pool) > 50
    assert run_shared(meet, 2, 1)[0] == 1


def forward(threads: int) -> list[Any]:
    return FORMS["lstm"](5, 4, 2, 8).run(cpu, threads=threads)


def backward(threads: int) -> list[Any]:
    return FORMS["lstm"](5, 4, 2, 8).run_backward(cpu, threads=threads)


def one_step(threads: int) -> list[Any]:
    h, c, x = (np.full((6, n), 0.5, np.float32) for n in (8, 8, 2))
    packed = np.full(cpu.lstm_packed_size(2, 8, x.dtype), 0.25, np.float32)
    cpu.lstm_step(h, c, x, np.ones(6, bool), packed, "tanh", "sigmoid", threads)
    return [h, c]


SHARED_CALLS = pytest.mark.parametrize(
    ("module", "call"), [(calls, forward), (backward_calls, backward), (step, one_step)]
)


@SHARED_CALLS
def test_an_interrupted_call_loses_nothing(
    module: Any, call: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it affect later calls, at whatever bytecode of the protocol it is interrupted."""
    expected = call(1)
    monkeypatch.setattr(run, "make_schedule", lambda *_: Schedule(2, 2, 4))
    call(2)
    assert interrupt_everywhere(lambda: call(2), run, _pool, module) > 100
    for a, b in zip(call(2), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_signals_lose_nothing() -> None:
    armed, interrupts, calls = False, 0, 0

    def interrupt(*_: Any) -> None:
        nonlocal armed
        if armed:
            armed = False  # here: the next signal may come before the first line of `except`
            raise KeyboardInterrupt

    run_shared(meet, 2, 1)
    before = signal.signal(signal.SIGALRM, interrupt)
    end = time.monotonic() + 2
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 3.3e-4)
    try:
        while time.monotonic() < end:
            try:
                armed = True
                run_shared(meet, 2, 1)
                armed = False
                calls += 1
            except KeyboardInterrupt:
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupts > 10
    assert calls


def test_finalisers_that_call_kernels_lose_nothing() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            results.append(int(run_shared(meet, 2, 1)[0]))

    results: list[int] = []
    run_shared(meet, 2, 1)
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(100):
            Cycle()
            results.append(int(run_shared(meet, 3, 1)[0]))
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert results == [1] * 200


def test_threads_are_started_from_a_finaliser_while_threads_are_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def nested(thread: Any) -> None:
        if thread.name == "fastmask-0":
            monkeypatch.setattr(threading.Thread, "start", start)
            _pool.pool.find(2, patient=True)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", nested)
    done = threading.Event()

    def call() -> None:
        run_shared(meet, 3, 1)
        done.set()

    caller = threading.Thread(target=call, daemon=True, name="caller")
    start(caller)
    assert done.wait(120)


def test_a_finaliser_in_a_new_thread_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that starts it waits for it, and afterwards starts what it asked for."""
    start, pool = threading.Thread.start, _pool.Pool()
    finalizer = threading.Thread(target=pool.start, args=(2,), daemon=True)

    def started(thread: Any) -> None:
        if thread.name == "fastmask-0":
            start(finalizer)
            finalizer.join(60)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    pool.start(1)
    assert not finalizer.is_alive()
    assert pool._started == 2


@SHARED_CALLS
def test_a_failing_preparation_loses_nothing(
    module: Any, call: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever allocation fails after threads are reserved, nothing is left reserved."""
    monkeypatch.setattr(run, "make_schedule", lambda *_: Schedule(2, 2, 4))
    expected = call(2)
    for number in itertools.count():
        allocations = itertools.count(-number)

        class Full:
            def __getattr__(self, name: str) -> Any:
                if name in ("empty", "zeros") and next(allocations) == 0:  # noqa: B023 - called within its turn of the loop
                    raise MemoryError
                return getattr(np, name)

        with monkeypatch.context() as patch:
            patch.setattr(module, "np", Full())
            try:
                call(2)
                break
            except MemoryError:
                assert not _pool.pool.calls
    assert number >= 1
    for a, b in zip(call(2), expected, strict=True):
        np.testing.assert_array_equal(a, b)
