"""Compile everything before it is timed, on all cores, into a folder of the checkout.

The kernels of a layer depend on its units, its cell, the form of its weights and the direction,
not on the batch, so one small batch of each is computed. What is in the folder is not compiled
again, in this run or a later one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

from benchmarks.cuda import cases
from benchmarks.cuda.process import Budget, Failed, Worker
from benchmarks.machine import usable_cores

LEAST_SECONDS = 4.0  # with less left, nothing is started
Section = dict[str, Any]


def jobs(trials: list[cases.Trial], absent: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The worker's jobs, by title, in the order of the trials."""
    found = {}
    for trial in trials:
        case = replace(trial.case, batch=2, time=2, kind="right")
        for name in trial.contenders:
            if name.startswith("fastmask") and name not in absent:
                way = "training" if trial.training else "forward"
                title = f"{name}, {case.cell}, H = {case.units}, {way}"
                job = {"contender": name, "case": asdict(case), "training": trial.training}
                found.setdefault(title, {"do": "compile", **job})
    return found


def run(
    trials: list[cases.Trial],
    absent: dict[str, str],
    budget: Budget,
    section: Section,
    changed: Callable[[], None],
    make_worker: Callable[[], Worker] = Worker,
) -> None:
    """Add what is missing to `section`: "done" (seconds of each), "failed" and "left_out"."""
    done: dict[str, float] = section.setdefault("done", {})
    section["failed"], section["left_out"] = {}, []
    waiting = deque((t, job) for t, job in jobs(trials, absent).items() if t not in done)

    def work() -> None:
        with make_worker() as worker:
            while waiting:
                title, job = waiting.popleft()
                if budget.left < LEAST_SECONDS:
                    section["left_out"].append(title)
                    continue
                begun = time.monotonic()
                try:
                    worker.ask(job, budget.left)
                    done[title] = time.monotonic() - begun
                except Failed as failure:
                    section["failed"][title] = str(failure)
                    print(f"{title}: {failure}", flush=True)
                changed()

    processes = max(1, min(usable_cores(), len(waiting)))
    with ThreadPoolExecutor(processes) as pool:
        for running in [pool.submit(work) for _ in range(processes)]:
            running.result()
    print(f"{len(done)} compiled, {len(section['failed'])} failed", flush=True)
