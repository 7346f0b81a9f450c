"""What a worker does, all of it in compiled code: it polls the queue, joins calls, and sleeps.

It never needs the GIL, which another thread may hold when the worker is woken. It sleeps by
acquiring a lock of its own that is already taken. The locks are CPython's: every system has them,
any thread may release them, and none of that needs the GIL.

A worker sets its state to ASLEEP before it stops listening, and then checks once more whether a
call was submitted. Only one thread can change ASLEEP to AWAKE: either a caller, which then releases
the lock, or the worker itself, which then does not acquire it. So no wake-up is lost or duplicated.
A worker that is AWAKE need not be woken: it checks the queue before it sleeps.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import compiled, inner, output
from ..simd import I32, I64
from .atomics import atomic_add, atomic_load, atomic_replace, atomic_store, spin_hint
from .queue import (
    ALONE,
    ARRIVED,
    FIRST_SLOT,
    FIRST_WORKER,
    LISTENERS,
    SLOT_WORDS,
    SLOTS,
    SUBMITTED,
    WORKER_WORDS,
    WORKERS,
    join,
)

COMING, LAST, WANTED = ARRIVED + 1, ARRIVED + 2, ARRIVED + 3
# ARRIVED: words of the workers that have started. COMING: how many are woken, not listening yet.
# LAST: when a call last found too few. WANTED: how many Python should start. Of a worker:
STATE, LOCK = 0, 1
AWAKE, ASLEEP = 0, 1
LISTENING = 8000  # pause instructions, about 0.2 ms
CLOSE_CALLS = 1_000_000  # ns; after a shorter gap more calls are likely

_TICK = round(time.get_clock_info("perf_counter").resolution * 1e9)  # of Windows' counter, in ns
_NOTHING = np.int64(-1)  # a literal has its own type, for which Numba would compile functions again
_i8 = types.int64
_address = types.intp
# Linked by name, as compiled code finds all functions of CPython.
_new_lock = types.ExternalFunction("PyThread_allocate_lock", _address())
_acquire = types.ExternalFunction("PyThread_acquire_lock", types.int32(_address, types.int32))
_release = types.ExternalFunction("PyThread_release_lock", types.void(_address))


@intrinsic
def nanoseconds(typingctx: Any) -> Any:
    """A steady clock."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pair = ir.ArrayType(I64, 2)
        place = cgutils.alloca_once(builder, pair)
        if os.name == "nt":
            name, unit, arguments = "QueryPerformanceCounter", _TICK, [place]
        else:
            name, unit, arguments = "clock_gettime", 10**9, [I32(time.CLOCK_MONOTONIC), place]
        signature = ir.FunctionType(I32, [argument.type for argument in arguments])
        clock = cgutils.get_or_insert_function(builder.module, signature, name)
        builder.call(clock, arguments)
        large, small = (builder.extract_value(builder.load(place), i) for i in range(2))
        scaled = builder.mul(large, I64(unit))
        return scaled if os.name == "nt" else builder.add(scaled, small)

    return _i8(), codegen


@inner
def find_workers(queue: Any, workers: int, patient: bool) -> int:
    """Find who provides threads for a call, ALONE or WORKERS; wake workers where that pays.

    Sets WANTED, the number of workers that Python should have started.

    Args:
        queue: int64.
        workers: how many may join, at least one.
        patient: whether the call is long enough for workers that have to be woken first.
    """
    missing = workers - atomic_load(queue, LISTENERS)
    if missing <= 0:
        return WORKERS
    now = nanoseconds()
    recent = now - queue[LAST] < CLOSE_CALLS
    queue[LAST] = now
    if patient or recent:
        if queue[WANTED] < workers:
            queue[WANTED] = workers
        sleepers = missing - atomic_load(queue, COMING)
        for place in range(FIRST_WORKER, len(queue), WORKER_WORDS):
            if sleepers <= 0 or queue[place + LOCK] == 0:  # there are no more
                break
            if atomic_replace(queue, place + STATE, ASLEEP, AWAKE):
                atomic_add(queue, COMING, 1)
                _release(queue[place + LOCK])
                sleepers -= 1
    return WORKERS if patient or missing < workers else ALONE


@inner
def _listen(queue: Any, seen: int) -> int:
    """Join calls until there were none for a moment; returns how many were submitted by then."""
    idle = 0
    while idle < LISTENING:
        spin_hint()
        idle += 1
        submitted = atomic_load(queue, SUBMITTED)
        if submitted != seen:
            seen = submitted
            for slot in range(SLOTS):
                if join(queue, FIRST_SLOT + slot * SLOT_WORDS):
                    idle = 0
    return seen


@compiled(lambda t: types.int64(output(t, 1), t, types.boolean))
def find_or_work(queue: Any, workers: int, patient: bool) -> int:
    """`find_workers`, for Python; with `workers` 0, the whole life of a worker thread.

    One kernel, because each takes a tenth of a second to compile.
    """
    if workers > 0:
        return int(find_workers(queue, workers, patient))
    place = FIRST_WORKER + atomic_add(queue, ARRIVED, WORKER_WORDS)
    lock = _new_lock() if place < len(queue) else 0
    if lock != 0:
        _acquire(lock, 1)
        queue[place + LOCK] = lock
    seen = _NOTHING
    while lock != 0:
        atomic_add(queue, LISTENERS, 1)
        seen = _listen(queue, seen)
        atomic_store(queue, place + STATE, ASLEEP)
        atomic_add(queue, LISTENERS, -1)
        # Whether a call was submitted since this thread stopped listening.
        late = atomic_load(queue, SUBMITTED) != seen
        if not (late and atomic_replace(queue, place + STATE, ASLEEP, AWAKE)):
            _acquire(lock, 1)
            atomic_add(queue, COMING, -1)
    return ALONE
