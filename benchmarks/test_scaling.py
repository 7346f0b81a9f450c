"""Simulated jobs against sums done by hand, and the page from made-up times."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import ranks, scaling, simulation
from benchmarks.blocks import write_block
from benchmarks.simulation import Job


def test_smoke_simulation() -> None:
    job = Job([3.0, 1.0, 1.0, 1.0], start=2.0, hand_out=0.0)
    assert simulation.seconds(job, 1) == 8
    assert simulation.seconds(job, 2) == 5
    assert simulation.seconds(job, 4) == 5
    assert simulation.efficiency(job, 2) == pytest.approx(6 / 10)
    slow = Job([1.0] * 10, start=0.0, hand_out=1.0)
    assert simulation.seconds(slow, 10) == 11
    assert simulation.bound(slow, 5) == "handing out"
    assert simulation.bound(Job([1.0] * 100, 0.0, 0.0), 2) == "computing"
    assert simulation.bound(job, 8) == "4 parts, of 3 s each"
    assert simulation.scaled([1.0, 1.0], 3, 5.0) == [5.0] * 3
    assert ranks.imbalance([[1, 2], [3, 2]]) == pytest.approx(5 / 4)


def test_smoke_scaling_page(tmp_path: Path) -> None:
    own = {
        "seconds": [1.0, 1.2, 0.8],
        "reading": 0.01,
        "computing": 0.98,
        "rows": 9000,
        "bytes": 1_800_000,
    }
    engine = {"start": 2.0, "hand_out": 0.001, "workers_1": 5.0, "workers_2": 3.5}
    both = {"rows": {"steps": 1.2, "time": 1.3}, "steps": {"steps": 1.0, "time": 1.1}}
    found = {
        "machine": {"cpu": "a processor", "cores": 2, "date": "today", "load": 0},
        "threads_1": own,
        "threads_2": own,
        "engines": {"dask": engine},
        "ranks": {"2": both},
    }
    page = tmp_path / "scaling.md"
    page.write_text("before\n<!-- scaling: a command -->\nold\n<!-- end of scaling -->\nafter\n")
    write_block(page, "scaling", scaling.tables_of(found))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "1800 and 2571 | 1.43 | 2.00 | 1.32 |" in text
    assert "| 4,096 |" in text
    assert "| 1.18 times (by time) |" in text
