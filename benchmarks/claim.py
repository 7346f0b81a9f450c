"""The README's table of speeds, from the numbers of the report."""

from __future__ import annotations

from pathlib import Path

from benchmarks import summary
from benchmarks.blocks import write_block
from benchmarks.machines import Report, first, title
from benchmarks.markdown import table
from benchmarks.peers import RIVALS

ROWS = {"lstm": "LSTM, inference", "training": "LSTM, GRU and SimpleRNN, training"}
CLASSES = {"quarter": "a quarter of the steps valid", "full": "no padding"}


def write_claim(reports: list[Report], readme: Path) -> None:
    """Write the table of the machines on which everything in it was measured."""
    if complete := [report for report in reports if ROWS.keys() <= report.keys()]:
        write_block(readme, "speed", claim(complete))


def claim(reports: list[Report]) -> str:
    """The speed of fastmask as a multiple of each library's, and the processors."""
    rows = [
        [f"{row}, {words}", *(speedups(reports, section, name, one.name) for one in RIVALS)]
        for section, row in ROWS.items()
        for name, words in CLASSES.items()
    ]
    numbers = table(["times as fast as", *(rival.name for rival in RIVALS)], rows)
    means = "Geometric means over shapes of one layer"
    if len(reports) > 1:
        means += "; a range runs from the processor with the lowest mean to that with the highest"
    return f"{numbers}\n\n{means}. Measured on {'; '.join(map(processor, reports))}.\n"


def speedups(reports: list[Report], section: str, name: str, rival: str) -> str:
    """The lowest and the highest of all machines, once if they are the same."""
    found = [
        summary.mean_speedup(summary.of_class(report[section]["groups"], name), rival)
        for report in reports
    ]
    shown = [f"{value:.1f}" for value in sorted(one for one in found if one is not None)]
    return " to ".join(dict.fromkeys([*shown[:1], *shown[-1:]]))


def processor(report: Report) -> str:
    """Its name, and how fast it multiplies."""
    peak = summary.peak_gflops(report["lstm"]) / report["lstm"]["about"]["threads"]
    return f"{title(first(report))}, each {peak:.0f} Gflop/s of float32 multiply-adds"
