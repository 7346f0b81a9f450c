"""What follows from the measured numbers: ratios, geometric means and the goals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.cells import CELLS
from benchmarks.limit import is_limit
from benchmarks.peers import FASTMASK, RIVALS
from benchmarks.streaming import ALL, EVENTS
from benchmarks.training import PACKED, RECOMPUTE

Group = dict[str, Any]

CLASSES = {"full": 1.0, "half": 0.5, "quarter": 0.25}
BATCH_1 = "batch 1"


@dataclass(frozen=True)
class Goal:
    """A number that the project aims for, and the measured one; None if it was not measured."""

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
    """Cell, shape and fill of a group."""
    return f"{cell_name(group)}, {shape(group)} at fill {group['fill']:g}"


def cell_name(group: Group) -> str:
    """The layer's name, and how many of them are stacked."""
    layers = group.get("layers", 1)
    name = CELLS[group.get("cell", "lstm")].layer
    return f"{name} x {layers}" if layers > 1 else name


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
    """The speed of fastmask as a multiple of the best peer's."""
    mine, rival = median(group, FASTMASK.name), best_rival(group)
    return None if mine is None or rival is None else rival / mine


def mean_speedup(groups: list[Group], rival: str) -> float | None:
    """The speed of fastmask as a multiple of one library's, on average over the groups."""
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


def peak_gflops(section: dict[str, Any], kind: str = "float32") -> float:
    """The rate of multiply-adds alone; where it was not measured, that of the best product."""
    peak = section["peak"]
    if kind not in peak["seconds"]:
        return product_gflops(section)
    return float(peak["operations"][kind] / peak["seconds"][kind]["best"] / 1e9)


def product_gflops(section: dict[str, Any]) -> float:
    """The best rate of any single plain matrix product, the large one or a limit."""
    peak = section["peak"]
    found = [
        (peak["operations"][name], timing)
        for name, timing in peak["seconds"].items()
        if is_limit(name)
    ]
    for group in section["groups"]:
        seconds = group["seconds"]
        found += [(group["flops"], seconds[name]) for name in seconds if is_limit(name)]
    return max(float(operations / timing["best"] / 1e9) for operations, timing in found)


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
    """The speed at which fastmask pads, as a multiple of that of `other`."""
    mine, theirs = median(group, "fastmask"), median(group, other)
    return None if mine is None or theirs is None else theirs / mine


def forward_goals(section: dict[str, Any]) -> list[Goal]:
    """The goals for the speed of forward calls of one cell."""
    wanted = {"full": 1.25, "half": 2.2, "quarter": 4.0, BATCH_1: 1.3}
    if section["groups"][0].get("cell", "lstm") != "lstm":
        del wanted[BATCH_1]
    title = cell_name(section["groups"][0])
    holes = geometric_mean(kind_ratio(group, "holes") for group in section["kinds"])
    return [
        *speed_goals(section["groups"], title, wanted, 1.15),
        Goal(f"{title}, holes: time in units of right padding", 1.05, holes, "x", False),
    ]


def training_goals(section: dict[str, Any]) -> list[Goal]:
    """The goals for the speed of forward and backward calls, all cells together."""
    wanted = {"full": 1.5, "half": 2.5, "quarter": 4.0}
    return speed_goals(section["groups"], "training", wanted, 1.5)


def speed_goals(
    groups: list[Group], title: str, wanted: dict[str, float], most_over_limit: float
) -> list[Goal]:
    """At least `wanted` times as fast as the best peer, nowhere slower, close to the limit."""
    groups = [group for group in groups if class_of(group)]
    worst = min(groups, key=lambda group: speedup(group) or math.inf)
    batches = [group for group in groups if group["batch"] >= 16]
    return [
        *(
            Goal(
                f"{title}, {name}: times as fast as the best peer",
                least,
                geometric_mean(speedup(group) for group in of_class(groups, name)),
                "x",
                True,
            )
            for name, least in wanted.items()
        ),
        Goal(
            f"{title}, slowest case ({case_name(worst)}): times as fast as the best peer",
            1.0,
            speedup(worst),
            "x",
            True,
        ),
        Goal(
            f"{title}, batch 16 and more: time in units of the limit",
            most_over_limit,
            geometric_mean(map(over_limit, batches)),
            "x",
            False,
        ),
    ]


def memory_goals(section: dict[str, Any]) -> list[Goal]:
    """The goals for the peak memory of a training step, at the worst case."""
    groups = section["groups"]
    packed = [memory_ratio(group, PACKED.name) for group in groups]
    # A SimpleRNN has no gates to compute again.
    gated = [memory_ratio(group, RECOMPUTE.name) for group in groups if group.get("cell") != "rnn"]
    saving = max((1 / ratio for ratio in gated if ratio), default=None)
    name = "training, peak memory in units of"
    return [
        Goal(f"{name} PyTorch packed's, worst case", 1.1, largest(packed), "x", False),
        Goal(f"{name} that without recomputation, worst case", 1.0, saving, "x", False),
    ]


def memory_ratio(group: Group, other: str) -> float | None:
    """fastmask's peak in units of another's."""
    mine, theirs = group["bytes"].get(FASTMASK.name), group["bytes"].get(other)
    return None if mine is None or theirs is None else float(mine / theirs)


def largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def streaming_goals(section: dict[str, Any]) -> list[Goal]:
    """The goals for one step of many streams."""
    return [
        Goal(
            f"step of {cell_name(group)}, 5 % of the streams: times as fast as stepping all",
            8.0,
            events_ratio(group),
            "x",
            True,
        )
        for group in section["groups"]
    ]


def events_ratio(group: Group) -> float | None:
    """The speed of stepping only the few, as a multiple of that of stepping all."""
    mine = median(group, EVENTS.name)
    every = [seconds for peer in ALL if (seconds := median(group, peer.name)) is not None]
    return min(every) / mine if mine and every else None


def share_of_peak(group: Group, fma_flops: int) -> tuple[float, float]:
    """The rate of a layer in operations a second, and its share of the multiply-adds' rate."""
    seconds = group["seconds"]
    mine = group["flops"] / seconds["fastmask"]["median"]
    return mine, mine / (fma_flops / seconds["multiply-adds alone"]["median"])


def padding_goals(section: dict[str, Any]) -> list[Goal]:
    """The goals for padding."""
    return [
        Goal(
            f"padding from {source}: times as fast as Keras",
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
