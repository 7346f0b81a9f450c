"""How long a job takes on many workers, by list scheduling of measured times."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Job(NamedTuple):
    """What was measured of a job, in seconds."""

    parts: Sequence[float]  # what each part takes on a worker
    start: float  # until the first worker begins
    hand_out: float  # of the driver for each part, one after the other


def seconds(job: Job, workers: int) -> float:
    """How long the job takes: whoever is done gets the next part, once it is handed out."""
    free = [job.start] * workers  # a heap: when each worker is done
    driver = job.start
    for part in job.parts:
        driver += job.hand_out
        heapq.heapreplace(free, max(free[0], driver) + part)
    return max(free)


def efficiency(job: Job, workers: int) -> float:
    """The share of the workers' time in which they compute."""
    return sum(job.parts) / (workers * seconds(job, workers))


def scaled(parts: Sequence[float], count: int, mean: float) -> list[float]:
    """The times of `count` parts with another mean, which vary as the measured ones do."""
    own = np.asarray(parts)
    drawn = np.random.default_rng(0).choice(own / own.mean(), count)
    return list(drawn * mean)


def bound(job: Job, workers: int) -> str:
    """What keeps the job from going faster on this many workers, in a word."""
    ideal = sum(job.parts) / workers
    longest = max(job.parts)
    costs = {
        "computing": ideal,
        "start-up": job.start,
        "handing out": job.hand_out * len(job.parts),
        "the last parts": seconds(job, workers) - job.start - ideal,
    }
    if len(job.parts) < workers:
        return f"{len(job.parts)} parts, of {longest:.0f} s each"
    return max(costs, key=lambda name: costs[name])
