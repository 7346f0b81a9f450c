"""Kernels whose calls threads share, and that record which threads came."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fastmask_kernels.cpu.jit import compiled, output
from fastmask_kernels.cpu.parallel import pool as _pool
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.atomics import atomic_add, atomic_load, spin_hint
from fastmask_kernels.cpu.parallel.barrier import ABORTED, control_size
from fastmask_kernels.cpu.parallel.queue import ALONE, LEFT, UNSHARED, submit

_i8 = types.int64
SIGNATURE = (output(_i8, 1), output(_i8, 1), _i8, _i8, output(_i8, 1), _i8, _i8)
PATIENCE = 10**6  # pauses, some 30 ms


@compiled(lambda _: _i8(*SIGNATURE))
def meet(
    seen: Any, control: Any, threads: int, wanted: int, queue: Any, provider: int, thread: int
) -> int:
    """Every thread sets its flag; the first waits until `wanted` have come, or one failed."""
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
def fail(
    seen: Any, control: Any, threads: int, failing: int, queue: Any, provider: int, thread: int
) -> int:
    """The thread `failing` raises; the others wait until they see that."""
    state = submit(queue, provider, control, threads, thread)
    if state != UNSHARED:
        return int(state)
    if thread == failing:
        if failing == 0:  # not before the other has come
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
def linger(
    seen: Any, control: Any, threads: int, late: int, queue: Any, provider: int, thread: int
) -> int:
    """A worker stays until seen[late] is set; the first thread waits until it has come."""
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


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for other threads, but not forever."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def state_of(kernel: Any, threads: int, number: int) -> tuple[Any, int]:
    seen, control = np.zeros(8, np.int64), np.zeros(control_size(threads), np.int64)
    function = kernel.for_dtype(control.dtype)
    provider = _pool.pool.find(threads - 1, patient=True) if threads > 1 else ALONE
    state = run.run(function, (seen, control, threads, number), provider, control)
    return seen, state


def run_shared(kernel: Any, threads: int, number: int) -> Any:
    return state_of(kernel, threads, number)[0]
