"""What follows from the measured numbers: ratios, geometric means and the goals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.limit import is_limit
from benchmarks.peers import FASTMASK, RIVALS

Group = dict[str, Any]

CLASSES = {"full": 1.0, "half": 0.5, "quarter": 0.25}
BATCH_1 = "batch 1"


@dataclass(frozen=True)
class Goal:
    """A number that the project wants, and what it is; None where it was not measured."""

    name: str
    wanted: float
    value: float | None
    unit: str
    at_least: bool

    @property
    def reached(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.wanted if self.at_least else self.value <= self.wanted


def case_name(group: Group) -> str:
    """Shape and fill of a group."""
    return f"{shape(group)} at fill {group['fill']:g}"


def shape(group: Group) -> str:
    """Sizes of a group: batch x time, features -> units."""
    return f"{group['batch']} x {group['time']}, {group['features']} -> {group['units']}"


def median(group: Group, name: str) -> float | None:
    """Median seconds of a contender, None where it did not take part."""
    timing = group["seconds"].get(name)
    return None if timing is None else float(timing["median"])


def limit(group: Group) -> float:
    """Seconds of a plain matrix product of the same size, by the faster library."""
    return min(float(t["median"]) for name, t in group["seconds"].items() if is_limit(name))


def best_rival(group: Group) -> float | None:
    """Seconds of the fastest library beside fastmask."""
    seconds = [median(group, rival.name) for rival in RIVALS]
    return min((value for value in seconds if value is not None), default=None)


def speedup(group: Group) -> float | None:
    """How many times faster than the best peer fastmask is."""
    mine, rival = median(group, FASTMASK.name), best_rival(group)
    return None if mine is None or rival is None else rival / mine


def mean_speedup(groups: list[Group], rival: str) -> float | None:
    """How many times faster than one library fastmask is, on average over the groups."""
    pairs = [(median(group, rival), median(group, FASTMASK.name)) for group in groups]
    return geometric_mean(theirs / mine for theirs, mine in pairs if theirs and mine)


def over_limit(group: Group) -> float | None:
    """fastmask's time in units of the limit."""
    mine = median(group, FASTMASK.name)
    return None if mine is None else mine / limit(group)


def gflops(group: Group) -> float | None:
    """fastmask's rate over the valid steps, in 1e9 operations a second."""
    mine = median(group, FASTMASK.name)
    return None if mine is None else float(group["flops"]) / mine / 1e9


def peak_gflops(section: dict[str, Any]) -> float:
    """The best rate of any single plain matrix product, the large one or a limit."""
    return max(
        float(group["flops"] / timing["best"] / 1e9)
        for group in (section["peak"], *section["groups"])
        for name, timing in group["seconds"].items()
        if is_limit(name)
    )


def class_of(group: Group) -> str | None:
    """The class whose mean the group belongs to; None for those that are only drawn."""
    if group["batch"] == 1:
        return BATCH_1
    return next((name for name, fill in CLASSES.items() if fill == group["fill"]), None)


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """The geometric mean of those that were measured."""
    known = [value for value in values if value is not None]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


def of_class(groups: list[Group], *names: str) -> list[Group]:
    """The groups that belong to one of the classes."""
    return [group for group in groups if class_of(group) in names]


def kind_ratio(group: Group, kind: str) -> float:
    """Time with padding of `kind` in units of the time with right padding."""
    return float(group["seconds"][kind]["median"] / group["seconds"]["right"]["median"])


def padding_ratio(group: Group, other: str) -> float | None:
    """How many times faster than `other` fastmask pads."""
    mine, theirs = median(group, "fastmask"), median(group, other)
    return None if mine is None or theirs is None else theirs / mine


def lstm_goals(section: dict[str, Any]) -> list[Goal]:
    """The goals for the LSTM's speed."""
    groups = [group for group in section["groups"] if class_of(group)]
    wanted = {"full": 1.25, "half": 2.2, "quarter": 4.0, BATCH_1: 1.3}
    goals = [
        Goal(
            f"{name}: times faster than the best peer",
            least,
            geometric_mean(speedup(group) for group in of_class(groups, name)),
            "x",
            True,
        )
        for name, least in wanted.items()
    ]
    worst = min(groups, key=lambda group: speedup(group) or math.inf)
    batches = [group for group in groups if group["batch"] >= 16]
    holes = geometric_mean(kind_ratio(group, "holes") for group in section["kinds"])
    return [
        *goals,
        Goal(
            f"slowest case, {case_name(worst)}: times faster than the best peer",
            1.0,
            speedup(worst),
            "x",
            True,
        ),
        Goal(
            "batch 16 and more: time in units of the limit",
            1.15,
            geometric_mean(map(over_limit, batches)),
            "x",
            False,
        ),
        Goal("holes: time in units of right padding", 1.05, holes, "x", False),
    ]


def padding_goals(section: dict[str, Any]) -> list[Goal]:
    """The goals for padding."""
    return [
        Goal(
            f"padding from {source}: times faster than Keras",
            least,
            geometric_mean(
                padding_ratio(group, "Keras")
                for group in section["groups"]
                if group["source"] == source
            ),
            "x",
            True,
        )
        for source, least in (("arrays", 2.5), ("lists", 1.5))
    ]


def startup_goals(section: dict[str, Any]) -> list[Goal]:
    """The goals for imports and first calls, in seconds."""
    if not section.get("seconds"):
        return []
    seconds = {name: timing["median"] for name, timing in section["seconds"].items()}
    added = seconds["import fastmask"] - seconds["import numpy"]
    beyond = seconds["first LSTM call"] - seconds["Numba's own start"]
    cold = seconds["first LSTM call, nothing compiled"]
    return [
        Goal("import fastmask, beyond import numpy", 0.06, added, " s", False),
        Goal("first LSTM call with nothing compiled", 5.0, cold, " s", False),
        Goal(
            "first LSTM call, compiled before, beyond Numba's own start", 0.25, beyond, " s", False
        ),
    ]
