"""The protocol of a call that threads share, the same for every kernel.

    schedule, provider = reserve(...)         how many threads, and who provides them
    arguments                                 made for that number of threads
    run(kernel, arguments, provider, control)

where the kernel calls `queue.submit`. `reserve` takes nothing that has to be released: until the
compiled kernel submits itself, a call may fail at any line without consequences. An interrupt of
`run` loses nothing either: see `Pool.calls`. Arguments that no Python object keeps alive may be
freed after `Pool.settle`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from . import pool as _pool
from .queue import ALONE, FAILURE, LEFT
from .schedule import ONE_THREAD, LengthOf, Schedule, even_schedule, make_schedule


def reserve(length: LengthOf, plan: Any, *sizes: int) -> tuple[Schedule, int]:
    """Decide how threads share a call, and who provides them; arguments are `make_schedule`'s.

    Returns:
        The schedule, for one thread if no other would come; and ALONE, WORKERS or OPENMP_TEAM.
    """
    return _provide(make_schedule(length, plan, *sizes))


def reserve_even(work: int, threads: int) -> tuple[Schedule, int]:
    """The same for `work` floating-point operations that can be divided evenly."""
    return _provide(even_schedule(work, threads))


def _provide(schedule: Schedule) -> tuple[Schedule, int]:
    if schedule.threads == 1:
        return schedule, ALONE
    provider = _pool.pool.find(schedule.threads - 1, schedule.patient)
    return (ONE_THREAD if provider == ALONE else schedule), provider


class _Running:
    """Lives as long as a call of `run`, however that ends."""

    __slots__ = ("__weakref__",)


def run(
    kernel: Callable[..., int],
    arguments: tuple[Any, ...],
    provider: int,
    control: Any,
    others: Any = None,
) -> int:
    """Call kernel(*arguments, queue, provider, 0) here, while other threads may join it.

    Args:
        kernel: calls `queue.submit` and returns its result, or a number below 0 before that.
        arguments: the kernel's arguments, without the last three.
        provider: from `reserve`.
        control: begins with the kernel's counters; see `barrier`.
        others: arrays whose addresses are among the arguments.

    Returns:
        What the kernel returned: LEFT if all workers have left, so that the arguments may be
        used for another call, STILL_INSIDE if not; or its number below 0.

    Raises:
        RuntimeError: a thread's part failed.
    """
    pool = _pool.pool
    if provider == ALONE:
        return kernel(*arguments, pool.queue, ALONE, 0)
    running = _Running()
    call = ref(running, pool.ended.append)  # a C function: nothing interrupts it
    pool.calls[id(call)] = call, (arguments, others), control
    try:
        state = kernel(*arguments, pool.queue, provider, 0)
        if state <= LEFT:
            del pool.calls[id(call)], call  # without the reference its callback does not run
    finally:
        del running  # a traceback may keep this frame
    if state == FAILURE:
        raise RuntimeError("a thread of this call failed; FASTMASK_NUM_THREADS=1 shows the error")
    return state
