"""Threads that compute problems until the time is over, and the outcome."""

from __future__ import annotations

import faulthandler
import itertools
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .disturbances import disturbed
from .problem import LOADS
from .ways import WAYS

WORKERS = 3  # threads beside the main one
HANG = 300  # seconds in one case, including compiling one kernel at a time on a busy machine,
# and from the end of the time to the end of the process
MAIN_WAYS = ("interrupted", "forked")  # signals reach the main thread, the only one after a fork
PAUSE = 8  # seconds between new processes, each of which takes as long as many cases


@dataclass(frozen=True)
class Case:
    """A problem and the way in which it is computed."""

    way: str
    load: str
    seed: int

    def __str__(self) -> str:
        return f"{self.way}:{self.load}:{self.seed}"

    def run(self) -> None:
        WAYS[self.way](self.load, self.seed)


@dataclass
class Outcome:
    """Counts of cases, and failures."""

    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: list[Case] = field(default_factory=list)
    _running: dict[int, tuple[Case, float]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)  # finalizers report, too

    def attempt(self, case: Case) -> bool:
        """Run a case; returns whether it succeeded."""
        thread = threading.get_ident()
        self._running[thread] = case, time.monotonic()
        try:
            case.run()
        except Exception as error:
            self.fail(case, error)
            return False
        else:
            with self._lock:
                self.done[case.way, case.load] += 1
            return True
        finally:
            self._running.pop(thread, None)

    def fail(self, case: Case, error: BaseException) -> None:
        """Record a failure, and print at once what happened and how to repeat it."""
        with self._lock:
            self.failed.append(case)
            print(f"\nFAILED {case}", file=sys.stderr)
            traceback.print_exception(error)
            print(f"repeat it: {command(case)}\n", file=sys.stderr, flush=True)

    def watch(self, end: float) -> None:
        """End the process with the stacks of all threads when a case takes too long.

        At `end` too: a disturbance may hang after it, or a finalizer while the interpreter ends.
        """
        while time.monotonic() < end:
            # If a thread hangs while it holds the GIL, this thread never runs again.
            faulthandler.dump_traceback_later(HANG, exit=True, file=sys.__stderr__)
            for case, begin in list(self._running.values()):
                if time.monotonic() - begin > HANG:
                    print(f"HANGS {case}; repeat it: {command(case)}", file=sys.stderr, flush=True)
                    faulthandler.dump_traceback(sys.__stderr__)
                    os._exit(1)
            time.sleep(1)

    def table(self) -> str:
        """A table of how often each load was computed in each way."""
        loads = sorted({load for _, load in self.done})
        rows = [["", *WAYS]]
        rows += [[load, *(str(self.done[way, load]) for way in WAYS)] for load in loads]
        rows.append(["", *(str(sum(self.done[way, load] for load in loads)) for way in WAYS)])
        return "\n".join(
            row[0].ljust(18) + "".join(cell.rjust(13) for cell in row[1:]) for row in rows
        )


def command(case: Case) -> str:
    """The command that runs only this case; `--times` repeats it until it fails."""
    return f"python -m tests.soak --case {case} --times 20"


def soak(seconds: float, seed: int, loads: Sequence[str] = (), ways: Sequence[str] = ()) -> Outcome:
    """Compute random problems with disturbances for some seconds, of some loads, in some ways."""
    outcome = Outcome()
    names, ways = loads or tuple(LOADS), ways or tuple(WAYS)
    end = time.monotonic() + seconds
    watch = threading.Thread(target=outcome.watch, args=(end,), daemon=True)
    watch.start()
    beside = [_work] * (WORKERS * ("plainly" in ways)) + [_renew] * ("anew" in ways)
    threads = [
        threading.Thread(target=loop, args=(outcome, names, [seed, i], end), daemon=True)
        for i, loop in enumerate(beside, 1)
    ]
    # A finalizer can run anywhere, so it must not wait for other threads: neither for one that it
    # starts, which may need a lock held here, nor for torch's.
    calm = [name for name in names if not name.startswith(("torch", "set_weights"))]

    def report(load: str, number: int, error: BaseException) -> None:
        outcome.fail(Case("plainly", load, number), error)

    with disturbed(seed, calm, report):
        for thread in threads:
            thread.start()
        _lead(outcome, names, [way for way in MAIN_WAYS if way in ways], [seed, 0], end)
        for thread in threads:
            thread.join()
    watch.join()
    return outcome


def _work(outcome: Outcome, names: Sequence[str], seed: list[int], end: float) -> None:
    random = np.random.default_rng(seed)
    while time.monotonic() < end:
        outcome.attempt(Case("plainly", str(random.choice(names)), int(random.integers(2**32))))


def _renew(outcome: Outcome, names: Sequence[str], seed: list[int], end: float) -> None:
    random = np.random.default_rng(seed)
    while time.monotonic() + PAUSE < end:
        time.sleep(PAUSE)
        outcome.attempt(Case("anew", str(random.choice(names)), int(random.integers(2**32))))


def _lead(
    outcome: Outcome, names: Sequence[str], ways: Sequence[str], seed: list[int], end: float
) -> None:
    random = np.random.default_rng(seed)
    for way in itertools.cycle(ways):
        if time.monotonic() > end:
            return
        outcome.attempt(Case(way, str(random.choice(names)), int(random.integers(2**32))))
