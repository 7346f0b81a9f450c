"""Device time by CUDA events: warm-up, then samples of several calls each, and their median.

A sample has as many calls as take about two milliseconds, launched one after another: a call costs
what the slower of host and device needs for it, as in a program that does nothing else. The
device's clocks are not locked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.cuda.system import SIMULATED, torch_device
from benchmarks.timing import Timing, summarize

WARM_CALLS = 1 if SIMULATED else 3
WARM_SECONDS = 0.05
SAMPLE_SECONDS = 0.002
LEAST_SAMPLES = 1 if SIMULATED else 5


class Event(Protocol):
    """A CUDA event on the current stream, as PyTorch and Numba have it."""

    def record(self) -> Any: ...

    def synchronize(self) -> Any: ...

    def elapsed_time(self, later: Any) -> float: ...


class HostEvent:
    """An event without a device: calls are complete when they return."""

    def record(self) -> None:
        self.moment = time.perf_counter()

    def synchronize(self) -> None:
        """Nothing is pending."""

    def elapsed_time(self, later: HostEvent) -> float:
        """Milliseconds, as in the other classes."""
        return 1e3 * (later.moment - self.moment)


def event_maker() -> Callable[[], Event]:
    """PyTorch's events; Numba's without PyTorch; the host's clock in the simulator."""
    if SIMULATED:
        return HostEvent
    if torch_device() == "cuda":
        import torch

        return lambda: torch.cuda.Event(enable_timing=True)
    from numba import cuda

    return lambda: cuda.event(timing=True)


def sample(call: Callable[[], object], calls: int, make: Callable[[], Event]) -> float:
    """Seconds per call, over `calls` calls."""
    start, end = make(), make()
    start.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / calls


def measure(
    call: Callable[[], object], seconds: float, make: Callable[[], Event] | None = None
) -> Timing:
    """Time `call` for about `seconds`."""
    make = make or event_maker()
    one, begin = sample(call, WARM_CALLS, make), time.perf_counter()
    while time.perf_counter() - begin < min(WARM_SECONDS, seconds):
        one = sample(call, 1, make)
    calls = max(1, round(SAMPLE_SECONDS / max(one, 1e-6)))
    samples: list[list[float]] = []
    begin = time.perf_counter()
    while len(samples) < LEAST_SAMPLES or time.perf_counter() - begin < seconds:
        samples.append([sample(call, calls, make)])
    return summarize(samples)
