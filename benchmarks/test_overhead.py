"""Layer calls beside the bare operation: one group for each kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import overhead
from benchmarks.overhead import Case, cases, check, main, page
from benchmarks.timing import Timing, settle

CASES = list(cases())


def case_name(case: Case) -> str:
    return case.name.replace(", ", "-").replace(" ", "-")


def time_one(benchmark: BenchmarkFixture, case: Case, call: Callable[[], Any]) -> None:
    check(case)
    benchmark.group = case.name
    settle()
    benchmark(call)


@pytest.mark.parametrize("which", ["layer", "operation"])
@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_overhead(benchmark: BenchmarkFixture, case: Case, which: str) -> None:
    time_one(benchmark, case, getattr(case, which))


@pytest.mark.parametrize("case", CASES, ids=case_name)
@pytest.mark.benchmark(max_time=0.01, min_rounds=1)
def test_smoke_overhead(benchmark: BenchmarkFixture, case: Case) -> None:
    time_one(benchmark, case, case.layer)


def test_smoke_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "cases", lambda: CASES[:2])
    main(["--seconds", "0", "--out", str(tmp_path / "page.md")])
    text = (tmp_path / "page.md").read_text()
    assert all(f"\n| {case.name} |" in text for case in CASES[:2])


def test_smoke_page_marks_what_is_slow() -> None:
    def timing(seconds: float) -> Timing:
        return Timing(seconds, seconds, seconds, seconds, 5, 5)

    about: dict[str, Any] = {"cpu": "", "cores": 1, "system": "", "simd": [], "threads": 1}
    about |= {"python": "", "versions": {}, "date": "", "load": 0.0}
    timings = {
        name: {"layer": timing(seconds), "operation": timing(1e-6)}
        for name, seconds in (("fast", 9e-6), ("slow", 17e-6))
    }
    text = page(timings, about)
    assert "| fast | 9.0 | 1.0 | 8.0 | 8.0 |" in text
    assert "| slow | 17.0 | 1.0 | 16.0 **over** | 16.0 |" in text
    assert "1 of 2 are within 15 us; of the fastest calls, 1." in text
