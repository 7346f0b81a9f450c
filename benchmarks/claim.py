"""The README's table of speeds, from the numbers of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import summary
from benchmarks.blocks import write_block
from benchmarks.markdown import table
from benchmarks.peers import RIVALS

ROWS = {"lstm": "LSTM, inference", "training": "LSTM, GRU and SimpleRNN, training"}
CLASSES = {"quarter": "a quarter of the steps valid", "full": "no padding"}


def write_claim(report: dict[str, Any], readme: Path) -> None:
    """Write the table, if everything in it was measured."""
    if ROWS.keys() <= report.keys():
        write_block(readme, "speed", claim(report))


def claim(report: dict[str, Any]) -> str:
    """The speed of fastmask as a multiple of each library's, and the processor."""
    about = report["lstm"]["about"]
    peak = summary.peak_gflops(report["lstm"]) / about["threads"]
    rows = [
        [f"{title}, {words}", *(speedup(report[section], name, rival.name) for rival in RIVALS)]
        for section, title in ROWS.items()
        for name, words in CLASSES.items()
    ]
    return (
        table(["times as fast as", *(rival.name for rival in RIVALS)], rows)
        + f"\n\n{about['cpu']}, {about['threads']} threads, each {peak:.0f} Gflop/s of float32 "
        "multiply-adds; geometric means over shapes.\n"
    )


def speedup(section: dict[str, Any], name: str, rival: str) -> str:
    found = summary.mean_speedup(summary.of_class(section["groups"], name), rival)
    return "" if found is None else f"{found:.1f}"
