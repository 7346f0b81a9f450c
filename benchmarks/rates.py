"""The best that the processor and our threads can do, and how close to it the kernels come.

The basis of the figures in docs/performance.md: the share of the multiply-add units' peak that a
layer reaches on one thread; the cost of handing a call over to a worker thread, and of a meeting
of two threads inside a call; the time of one step of a single sequence.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import types

import fastmask as fm
from benchmarks.cases import Case, Problem
from benchmarks.peaks import peak_call
from benchmarks.peers import fastmask_layer
from benchmarks.timing import Timing, settle, summarize
from fastmask_kernels.cpu.jit import compiled, output
from fastmask_kernels.cpu.parallel.atomics import atomic_add, atomic_load, spin_hint
from fastmask_kernels.cpu.parallel.barrier import control_size
from fastmask_kernels.cpu.parallel.pool import pool
from fastmask_kernels.cpu.parallel.queue import ALONE, LEFT, UNSHARED, submit
from fastmask_kernels.cpu.parallel.run import run

SHARE_CASES = (
    *(Case(*shape) for shape in ((32, 200, 128, 64), (32, 200, 128, 128), (64, 100, 256, 256))),
    *(Case(*shape) for shape in ((64, 20, 512, 512), (6, 200, 128, 128), (1, 1000, 128, 128))),
    *(Case(32, 200, 128, 128, cell=cell) for cell in ("gru", "rnn")),
)
STEP_CASES = (
    *(Case(1, 1000, units, units) for units in (32, 64, 128, 256)),
    *(Case(1, 1000, 128, 128, cell=cell) for cell in ("gru", "rnn")),
)

MEETINGS = 1000
ASLEEP = 0.003  # seconds after which workers have gone to sleep
HANDOVERS_A_TURN = 20
TURNS = 11
PATIENCE = 200_000  # pause instructions, a few milliseconds
SECONDS_OF_ATTEMPTS = 60  # on a busy machine, few calls meet a worker


def share_calls(problem: Problem) -> dict[str, Callable[[], object]]:
    """A layer on one thread, and the peak beside it."""
    return {"fastmask": layer_call(problem, 1), "multiply-adds alone": peak_call()}


def step_calls(problem: Problem, threads: int) -> dict[str, Callable[[], object]]:
    """A layer on one thread and, where they are wanted, on several."""
    return {str(n): layer_call(problem, n) for n in sorted({1, threads})}


def layer_call(problem: Problem, threads: int) -> Callable[[], object]:
    """A layer called with a planned mask on `threads` threads."""
    layer, mask = fastmask_layer(problem, threads), fm.Mask(problem.valid)

    def call() -> None:
        fm.set_num_threads(threads)
        layer(problem.x, mask=mask)

    return call


@compiled(
    lambda t: types.int64(output(t, 1), types.int64, output(t, 1), types.int64, types.int64),
    "meet",
)
def _meet(control: Any, meetings: int, queue: Any, provider: int, thread: int) -> int:
    """Two threads take turns in incrementing control[0]; for one thread meetings must be 0."""
    state = submit(queue, provider, control, 2, thread)
    if state != UNSHARED:
        return state
    for k in range(meetings + (thread == 0 and meetings > 0)):
        waited = 0
        while atomic_load(control, 0) < 2 * k + thread:
            spin_hint()
            waited += 1
            if waited > PATIENCE:  # a worker that was just going to sleep does not come
                return LEFT
        if k < meetings:
            atomic_add(control, 0, 1)
    return LEFT


def meet(meetings: int) -> bool:
    """A call that ends when a worker has met the caller `meetings` times; 0 for no worker.

    Returns:
        Whether the worker came.
    """
    control = np.zeros(control_size(2), np.int64)
    provider = pool.find(1, patient=True) if meetings else ALONE
    wanted = meetings if provider != ALONE else 0
    run(_meet.for_dtype(control.dtype), (control, wanted), provider, control)
    return wanted == meetings and bool(control[0] == 2 * meetings)


def measure_handover() -> dict[str, Timing]:
    """Calls without a worker, with one that listens, one that sleeps, and one met often."""
    ways: dict[str, Callable[[], float]] = {
        "alone": partial(timed, 0),
        "worker listens": partial(timed, 1),
        "worker sleeps": partial(timed, 1, ASLEEP),
        "many meetings": partial(timed, MEETINGS),
    }
    turns: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            settle()
            way()
            turns[name].append([way() for _ in range(HANDOVERS_A_TURN)])
    return {name: summarize(values) for name, values in turns.items()}


def timed(meetings: int, pause: float = 0.0) -> float:
    """Seconds of one call that the worker joined, after a pause."""
    end = time.monotonic() + SECONDS_OF_ATTEMPTS
    while time.monotonic() < end:
        if pause:
            time.sleep(pause)
        begin = time.perf_counter()
        if meet(meetings):
            return time.perf_counter() - begin
    raise RuntimeError(f"no worker came in {SECONDS_OF_ATTEMPTS} seconds")
