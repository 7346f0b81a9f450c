"""Timing of several contenders side by side, made to be fair on a noisy machine.

A machine that others share is faster in one minute than in the next, so contenders take turns
(A B C A B C ...), each turn gives one number (the median of its calls), and only these are
compared. Libraries that keep their worker threads spinning for the next call would slow down
whoever comes after them: spinning workers of one library made the first calls of the next 10 to
100 times slower on two cores, for up to 75 ms. So a turn starts only when this process has become
idle, and goes on with a few calls that are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

SETTLE_SLICE = 0.004  # seconds asleep between two checks of the CPU time used
SETTLE_LIMIT = 0.3
IDLE_SHARE = 0.05
WARM_SECONDS = 0.005
TURN_SECONDS = 0.03
MIN_ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median and quartiles of the turns, and the fastest single call."""

    median: float
    q25: float
    q75: float
    best: float
    rounds: int
    calls: int


def settle() -> None:
    """Sleep until no thread of this process is running, or `SETTLE_LIMIT` has passed."""
    deadline = time.perf_counter() + SETTLE_LIMIT
    while time.perf_counter() < deadline:
        cpu, wall = time.process_time(), time.perf_counter()
        time.sleep(SETTLE_SLICE)
        if time.process_time() - cpu < IDLE_SHARE * (time.perf_counter() - wall):
            return


def take_turn(call: Callable[[], object]) -> list[float]:
    """Seconds of each counted call of one turn, at least one."""
    settle()
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_SECONDS:
        call()
    seconds: list[float] = []
    start = time.perf_counter()
    while not seconds or time.perf_counter() - start < TURN_SECONDS:
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return seconds


def side_by_side(
    contenders: Mapping[str, Callable[[], object]], budget: float
) -> dict[str, Timing]:
    """Time all `contenders` in turns for about `budget` seconds, at least `MIN_ROUNDS` rounds."""
    turns: dict[str, list[list[float]]] = {name: [] for name in contenders}
    deadline = time.perf_counter() + budget
    rounds = 0
    while rounds < MIN_ROUNDS or time.perf_counter() < deadline:
        for name, call in contenders.items():
            turns[name].append(take_turn(call))
        rounds += 1
    return {name: summarize(seconds) for name, seconds in turns.items()}


def summarize(turns: list[list[float]]) -> Timing:
    """The numbers that are kept of a contender's turns."""
    q25, median, q75 = np.percentile([np.median(turn) for turn in turns], [25, 50, 75])
    return Timing(
        median=float(median),
        q25=float(q25),
        q75=float(q75),
        best=min(min(turn) for turn in turns),
        rounds=len(turns),
        calls=sum(len(turn) for turn in turns),
    )
