"""Workers that join a running kernel: who comes, what they may touch, and how they fail."""

from __future__ import annotations

import gc
import io
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numba import types

from fastmask_kernels import cpu
from fastmask_kernels.cpu.jit import compiled, output
from fastmask_kernels.cpu.parallel import barrier as _barrier
from fastmask_kernels.cpu.parallel import pool as _pool
from fastmask_kernels.cpu.parallel import queue as _queue
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.atomics import atomic_add, atomic_load, spin_hint
from fastmask_kernels.cpu.parallel.barrier import ABORTED, control_size
from fastmask_kernels.cpu.parallel.queue import (
    ALONE,
    INSIDE,
    LEFT,
    OPEN,
    SLOTS,
    STILL_INSIDE,
    TAKEN,
    UNSHARED,
    slot_start,
    submit,
)
from fastmask_kernels.cpu.parallel.schedule import Schedule
from fastmask_kernels.cpu.rnn import gate_gradients, layer, step

from ..each import FORMS

_i8 = types.int64
SIGNATURE = (output(_i8, 1), output(_i8, 1), _i8, _i8, output(_i8, 1), _i8, _i8)
PATIENCE = 10**6  # pauses, some 30 ms
TRIES = 200  # a worker that is just going to sleep, or has no processor, may miss a call


@compiled(lambda _: _i8(*SIGNATURE))
def _meet(
    seen: Any, control: Any, threads: int, wanted: int, queue: Any, provider: int, thread: int
) -> int:
    """Every thread marks its number; the first waits until `wanted` have come, or one failed."""
    state = submit(queue, provider, control, threads, thread)
    if state != UNSHARED:
        return int(state)
    atomic_add(seen, thread, 1)
    atomic_add(control, 0, 1)
    if thread == 0:
        for _ in range(PATIENCE):
            if atomic_load(control, 0) >= wanted or atomic_load(control, ABORTED) != 0:
                break
            spin_hint()
    return LEFT


@compiled(lambda _: _i8(*SIGNATURE))
def _fail(
    seen: Any, control: Any, threads: int, failing: int, queue: Any, provider: int, thread: int
) -> int:
    """The thread `failing` raises; the others wait until they hear of it."""
    state = submit(queue, provider, control, threads, thread)
    if state != UNSHARED:
        return int(state)
    if thread == failing:
        if failing == 0:  # not before the other is here
            for _ in range(PATIENCE):
                if atomic_load(seen, 1) != 0:
                    break
                spin_hint()
        raise ValueError("this thread fails")
    atomic_add(seen, thread, 1)
    for _ in range(PATIENCE):
        if atomic_load(control, ABORTED) != 0:
            break
        spin_hint()
    return LEFT


@compiled(lambda _: _i8(*SIGNATURE))
def _linger(
    seen: Any, control: Any, threads: int, late: int, queue: Any, provider: int, thread: int
) -> int:
    """A worker that has come stays until seen[late] is set; the first waits until it has come."""
    state = submit(queue, provider, control, threads, thread)
    if state != UNSHARED:
        return int(state)
    atomic_add(seen, thread, 1)
    awaited = 1 if thread == 0 else late
    for _ in range(10 * PATIENCE if thread else PATIENCE):
        if atomic_load(seen, awaited) != 0:
            break
        spin_hint()
    return LEFT


@pytest.fixture(autouse=True)
def _own_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_pool, "pool", _pool.Pool())
    yield
    pool = _pool.pool
    starts = list(map(slot_start, range(SLOTS)))
    wait_until(lambda: not any(pool.queue[start + INSIDE] for start in starts))
    pool.forget()
    # However its calls ended, no slot is lost, and no arguments are kept.
    assert not any(pool.queue[start + place] for start in starts for place in (TAKEN, OPEN))
    assert not pool.calls
    assert not pool.ended


def wait_until(condition: Callable[[], bool]) -> None:
    """Give other threads time, but not for ever."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def _shared(kernel: Any, threads: int, number: int) -> tuple[Any, int]:
    seen, control = np.zeros(8, np.int64), np.zeros(control_size(threads), np.int64)
    function = kernel.for_dtype(control.dtype)
    provider = _pool.pool.find(threads - 1, patient=True) if threads > 1 else ALONE
    state = run.run(function, (seen, control, threads, number), provider, control)
    return seen, state


def _run(kernel: Any, threads: int, number: int) -> Any:
    return _shared(kernel, threads, number)[0]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_come_once_each(threads: int) -> None:
    for _ in range(TRIES):
        seen = _run(_meet, threads, threads)
        assert seen[0] == seen.max() == 1
        assert not seen[threads:].any()
        if seen.sum() == threads:
            return
    pytest.fail("not all workers came")


def test_a_call_does_not_wait_for_helpers() -> None:
    late = 7
    for _ in range(TRIES):
        seen, state = _shared(_linger, 2, late)
        if seen[1]:  # a worker came, and is there until it is told to go
            assert state == STILL_INSIDE
            assert len(_pool.pool.calls) == 1  # with the arguments that it may yet read
            seen[late] = 1
            return
    pytest.fail("no worker came")


def test_a_slot_with_a_helper_inside_is_not_taken() -> None:
    queue = _pool.pool.queue
    queue[slot_start(0) + INSIDE] = 1
    for _ in range(20):
        _run(_meet, 2, 1)
        assert not queue[slot_start(0) + _queue.FUNCTION]
    assert queue[slot_start(1) + _queue.FUNCTION]
    queue[slot_start(0) + INSIDE] = 0


def test_without_a_free_slot_a_call_works_alone() -> None:
    queue = _pool.pool.queue
    for start in map(slot_start, range(SLOTS)):
        queue[start + TAKEN] = 1
    for _ in range(20):
        assert _run(_meet, 3, 1)[:3].tolist() == [1, 0, 0]
    for start in map(slot_start, range(SLOTS)):
        queue[start + TAKEN] = 0


def raising_at(event: int, modules: tuple[Any, ...]) -> Callable[..., Any]:
    """A trace function that raises KeyboardInterrupt at one of the bytecodes of some modules."""
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
    """Make a call again and again, interrupted one bytecode later each time; how often it was."""
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
    _run(_meet, 2, 1)
    assert interrupt_everywhere(lambda: _run(_meet, 2, 1), run, _pool) > 50
    assert _run(_meet, 2, 1)[0] == 1


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
    ("module", "call"), [(layer, forward), (gate_gradients, backward), (step, one_step)]
)


@SHARED_CALLS
def test_an_interrupted_call_loses_nothing(
    module: Any, call: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it change what comes after it; at any bytecode of the protocol."""
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
        if armed:
            raise KeyboardInterrupt

    _run(_meet, 2, 1)
    before = signal.signal(signal.SIGALRM, interrupt)
    end = time.monotonic() + 2
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 3.3e-4)
    try:
        while time.monotonic() < end:
            try:
                armed = True
                _run(_meet, 2, 1)
                armed = False
                calls += 1
            except KeyboardInterrupt:
                armed = False
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
            results.append(int(_run(_meet, 2, 1)[0]))

    results: list[int] = []
    _run(_meet, 2, 1)
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(100):
            Cycle()
            results.append(int(_run(_meet, 3, 1)[0]))
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
        _run(_meet, 3, 1)
        done.set()

    caller = threading.Thread(target=call, daemon=True, name="caller")
    start(caller)
    assert done.wait(120)


def test_a_helper_looks_again_once_it_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller may have closed the slot after the first look, and be gone."""
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

    monkeypatch.setattr(_queue, "atomic_load", lambda *_: 1)  # what the first look saw
    monkeypatch.setattr(_queue, "atomic_add", add)
    monkeypatch.setattr(_queue, "_call", call)
    assert not _queue._join.py_func(queue, start)
    assert entered == [(INSIDE, 0, 1), (OPEN, 0, 0), (INSIDE, 1, -1)]


def test_a_finished_chunk_is_kept_before_others_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sees it finished begins the next phase, in which it must be claimed already."""
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
        results.extend([_run(_meet, 2, 1)[:2].tolist() for _ in range(100)])

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
            _run(_fail, 2, 1)
        except RuntimeError as error:
            message = str(error)
            failed += 1
        if failed == 3:
            break
    assert "a thread of this call failed; FASTMASK_NUM_THREADS=1" in message


def test_an_error_in_the_caller_is_raised() -> None:
    for _ in range(5):
        with pytest.raises(RuntimeError, match="a thread of this call failed"):
            _run(_fail, 2, 0)
    with pytest.raises(ValueError, match="this thread fails"):
        _run(_fail, 1, 0)  # alone, it is what it is


def test_without_threads_a_call_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(2):
        assert _run(_meet, 2, 1)[:2].tolist() == [1, 0]
    assert _pool.pool._started == 0


@SHARED_CALLS
def test_a_failing_preparation_loses_nothing(
    module: Any, call: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever allocation fails once threads are reserved, nothing has to be given back."""
    monkeypatch.setattr(run, "make_schedule", lambda *_: Schedule(2, 2, 4))
    expected = call(2)
    for number in itertools.count():
        allocations = itertools.count(-number)

        class Full:
            def __getattr__(self, name: str) -> Any:
                if name in ("empty", "zeros") and next(allocations) == 0:  # noqa: B023
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


def test_threads_from_an_openmp_library() -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch._interop import _openmp

    library = _openmp()
    if library is None:
        pytest.skip("this torch has no OpenMP library that can be told")
    with _pool.openmp_team(library):
        for _ in range(20):
            assert _run(_meet, 2, 1)[:2].sum() >= 1
        with pytest.raises(RuntimeError, match="a thread of this call failed"):
            _run(_fail, 2, 0)
    assert _pool.pool._started == 0  # ours were not needed
    assert _run(_meet, 1, 1)[0] == 1


@pytest.mark.parametrize("sizes", [(5, 20, 8, 100), (40, 12, 16, 64)])
def test_a_layer_on_openmp_threads(sizes: tuple[int, ...]) -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch._interop import _openmp

    case = FORMS["lstm"](*sizes, kind="right")
    alone = case.run(cpu, threads=1)
    with pytest.MonkeyPatch.context() as patch, _pool.openmp_team(_openmp()):
        for schedule in (Schedule(2, 0, 0), Schedule(2, 4, 5)):
            patch.setattr(run, "make_schedule", lambda *_, schedule=schedule: schedule)
            for _ in range(50):
                for a, b in zip(alone, case.run(cpu, threads=2), strict=True):
                    np.testing.assert_array_equal(a, b)


def test_a_forked_process_takes_no_openmp_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch._interop import _openmp

    monkeypatch.setattr(_pool, "_forked", True)
    with _pool.openmp_team(_openmp()):
        assert not _pool._openmp.get()


@pytest.mark.parametrize("place", ["/a place/{}", "/place/{} (deleted)"])
def test_an_openmp_library_at_a_strange_place(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch import _interop

    def load(path: str) -> str:
        if path.endswith("(deleted)"):
            raise OSError(path)
        return path

    path = place.format("libgomp.so.1")
    maps = f"7f00-7f01 r--p 00000000 08:01 42                 {path}\n"
    monkeypatch.setattr(_interop.Path, "open", lambda _: io.StringIO(maps))
    monkeypatch.setattr(_interop.ctypes, "CDLL", load)
    monkeypatch.setattr(_interop.torch.__config__, "parallel_info", lambda: "OpenMP")
    assert _interop._openmp.__wrapped__() == (None if path.endswith("(deleted)") else path)
