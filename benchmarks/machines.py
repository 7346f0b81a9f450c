"""What different machines reach, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import quantized_page, summary
from benchmarks.cells import CELLS
from benchmarks.machine import processor
from benchmarks.markdown import table

Report = dict[str, Any]

GOALS_OF: dict[str, Callable[[dict[str, Any]], list[summary.Goal]]] = {
    **dict.fromkeys(CELLS, summary.forward_goals),
    "quantized": quantized_page.goals,
    "training": summary.training_goals,
    "memory": summary.memory_goals,
    "streaming": summary.streaming_goals,
    "padding": summary.padding_goals,
    "startup": summary.startup_goals,
}

TEXT = """
The same goals on every machine that was measured, each with the code of its date; the rest of this
page is about the first. Ratios to peers depend on the processor: on how fast it multiplies, and on
how well the peers' matrix products are tuned for it.
"""


def goals_of(report: Report) -> list[summary.Goal]:
    """The goals of all measured sections."""
    return [goal for name in GOALS_OF if name in report for goal in GOALS_OF[name](report[name])]


def part(reports: list[Report]) -> list[str]:
    """Machines as columns, and a row for each goal; empty for a single machine."""
    if len(reports) < 2:
        return []
    found = [{comparable(goal): goal.value for goal in goals_of(report)} for report in reports]
    names = list(dict.fromkeys(name for goals in found for name in goals))
    rows = [
        ["peak of multiply-adds, float32, Gflop/s", *map(peak, reports)],
        ["measured", *(first(report)["date"].partition(" ")[0] for report in reports)],
        *([name, *(shown(goals.get(name)) for goals in found)] for name in names),
    ]
    titles = ["", *(title(first(report)) for report in reports)]
    return ["## Machines side by side", TEXT, table(titles, rows)]


def comparable(goal: summary.Goal) -> str:
    """A goal's name without the case that was the worst on one machine."""
    before, _, after = goal.name.partition(" (")
    return before + after.partition(")")[2]


def title(about: dict[str, Any]) -> str:
    return f"{processor(about)}, {about['threads']} threads"


def first(report: Report) -> dict[str, Any]:
    """When and on what the first section was measured."""
    about: dict[str, Any] = next(iter(report.values()))["about"]
    return about


def peak(report: Report) -> str:
    sections: Iterable[Report] = (section for section in report.values() if "peak" in section)
    found = [summary.peak_gflops(section) for section in sections]
    return f"{max(found):.0f}" if found else ""


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
