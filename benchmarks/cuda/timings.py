"""Measure costs and trials, one job after the other, as long as there is time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.cuda import cases
from benchmarks.cuda.process import Budget, Failed, Worker

START_SECONDS = 180.0  # importing, finding the device
LEAST_SECONDS = 4.0  # with less left, nothing is started
JOB_SECONDS = {cases.FLASHRNN: 240.0}
MOST_SECONDS = 60.0  # of any other job, including compilation
HOLDS = 4  # a cost gets this part of the time left: a barrier that hangs must not take it all

Section = dict[str, Any]


def describe(worker: Worker) -> Section:
    """The device, and which contenders are unavailable."""
    about: Section = worker.ask({"do": "describe"}, START_SECONDS)
    return about


def measure(
    worker: Worker,
    trials: list[cases.Trial],
    costs: list[str],
    absent: dict[str, str],
    seconds: float,
    budget: Budget,
    section: Section,
    changed: Callable[[], None],
) -> None:
    """Add what is missing to `section`; `changed` is called after each trial.

    `section` has "costs" {name: cost or error}, "groups", one for each trial, and "left_out".
    """
    section.setdefault("costs", {})
    section.setdefault("groups", [])
    section["left_out"] = []
    for name in costs:
        _measure_cost(worker, name, seconds, budget, section)
    changed()
    for trial in trials:
        group = group_of(section["groups"], trial)
        done = group["seconds"].keys()
        todo = [name for name in trial.contenders if name not in done and name not in absent]
        for name in todo:
            _measure_contender(worker, trial, name, seconds, budget, group, section)
        changed()


def _measure_cost(
    worker: Worker, name: str, seconds: float, budget: Budget, section: Section
) -> None:
    if "value" in section["costs"].get(name, {}):
        return
    if budget.left < LEAST_SECONDS:
        section["left_out"].append(name)
        return
    limit = min(MOST_SECONDS, budget.left / HOLDS)
    try:
        found = worker.ask({"do": "cost", "name": name, "seconds": seconds}, limit)
        print(f"{name}: {found['value']:.4g} {found['unit']}", flush=True)
    except Failed as failure:
        found = {"error": str(failure)}
        print(f"{name}: {failure}", flush=True)
    section["costs"][name] = found


def _measure_contender(
    worker: Worker,
    trial: cases.Trial,
    name: str,
    seconds: float,
    budget: Budget,
    group: Section,
    section: Section,
) -> None:
    title = f"{trial.name}, {name}"
    if budget.left < LEAST_SECONDS:
        section["left_out"].append(title)
        return
    job = {
        "do": "time",
        "contender": name,
        "case": asdict(trial.case),
        "training": trial.training,
        "seconds": seconds,
    }
    group["failed"].pop(name, None)
    try:
        found = worker.ask(job, limit_of(name, budget))
    except Failed as failure:
        group["failed"][name] = str(failure)
        print(f"{title}: {failure}", flush=True)
        return
    group["steps"], group["errors"][name] = found.pop("steps"), found.pop("error")
    group["seconds"][name] = found
    print(f"{title}: {1e3 * found['median']:.4g} ms", flush=True)


def limit_of(name: str, budget: Budget) -> float:
    """Time limit of a contender; one that takes minutes gets at most half of what is left."""
    if name in JOB_SECONDS:
        return min(JOB_SECONDS[name], budget.left / 2)
    return min(MOST_SECONDS, budget.left)


def group_of(groups: list[Section], trial: cases.Trial) -> Section:
    """The group of a trial, a new one if there is none."""
    key = {**asdict(trial.case), "training": trial.training}
    for group in groups:
        if all(group.get(name) == value for name, value in key.items()):
            return group
    group = {**key, "steps": None, "seconds": {}, "errors": {}, "failed": {}}
    groups.append(group)
    return group
