"""How the work of a call is divided among threads, decided from its sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

MIN_SHARED_WORK = 2_000_000  # floating-point operations, about 20 us; below, sharing costs more
MIN_WORK_TO_WAKE = 10_000_000  # about 100 us; below, a sleeping worker comes too late
MIN_JOINED_WEIGHTS = 18_432  # recurrent ones; below, a step is too short for a barrier after it
WEIGHTS_A_SUM = 16  # the other work on a sum takes as long as these, in every format
USUAL_BYTES = 4  # of a weight; products with smaller ones are faster in proportion
CACHE_BYTES = 1 << 20  # of weights that a core is assumed to keep from step to step
ROWS_BOUND_BY_CACHE = 2  # up to this many rows wait for weights from the core's own cache
ROWS_BOUND_BY_MEMORY = 6  # up to this many rows wait for weights from farther away
MOST_THREADS = 256  # each has scratch memory of its own
ROWS_OF_A_GROUP = 16  # smaller groups would fill the micro-kernel's tiles badly


LengthOf = Callable[[Any, int], int]
"""From a plan, in any form, and a rank to that row's number of valid steps; 0 is the longest."""


class Schedule(NamedTuple):
    """How threads share a call."""

    threads: int
    groups: int  # groups of rows, each computed by one thread; more where rows are many
    join: int  # step from which on all threads share each step
    patient: bool = True  # whether the call is long enough to wake sleeping workers
    common: int = 1 << 62  # most rows that have steps from `join` on


ONE_THREAD = Schedule(1, 1, 1 << 62, False, 0)  # the calling one takes all rows


def make_schedule(
    length: LengthOf,
    plan: Any,
    rows: int,
    steps: int,
    features: int,
    units: int,
    gates: int,
    itemsize: int,
    threads: int,
) -> Schedule:
    """Decide how threads share a call.

    A thread on its own reads all weights in every step, for its rows only. Once a step has so
    few rows that reading the weights takes longer than computing with them, threads that each
    read a part of the weights, for all rows, are faster, if the step is long enough to pay for
    the barrier after it.

    Args:
        length: gives the length of a row by its rank.
        plan: the plan that `length` reads.
        rows: B.
        steps: the number of valid steps of all rows.
        features: F.
        units: H.
        gates: products of a unit with its inputs.
        itemsize: bytes of a weight.
        threads: upper bound on the threads.
    """
    threads = min(threads, MOST_THREADS)
    weights = gates * units * (features + units)
    share = min(itemsize, USUAL_BYTES) / USUAL_BYTES
    work = 2 * weights * steps * share
    if threads == 1 or work < MIN_SHARED_WORK:
        return ONE_THREAD
    join, common = length(plan, 0), 0
    if gates * units * (units * share + WEIGHTS_A_SUM) >= MIN_JOINED_WEIGHTS:
        near = weights * itemsize <= CACHE_BYTES
        common = threads * (ROWS_BOUND_BY_CACHE if near else ROWS_BOUND_BY_MEMORY)
        # At least one step: rows without any are not among the common ones.
        join = max(length(plan, common), 1) if common < rows else 0
    groups = 0
    if join > 0 and rows == 1:
        return ONE_THREAD
    if join > 0:
        groups = threads * (1 + (rows >= 2 * threads * ROWS_OF_A_GROUP))
    return Schedule(threads, groups, join, work >= MIN_WORK_TO_WAKE, common)


def even_schedule(work: int, threads: int) -> Schedule:
    """The same for `work` floating-point operations that can be divided evenly."""
    threads = min(threads, MOST_THREADS)
    if threads == 1 or work < MIN_SHARED_WORK:
        return ONE_THREAD
    one = ONE_THREAD  # but for:
    return Schedule(threads, one.groups, one.join, work >= MIN_WORK_TO_WAKE, one.common)
