"""The processor's peak, a layer on one thread beside it, and meetings of two threads."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import Case, make_problem
from benchmarks.peers import FASTMASK
from benchmarks.timing import settle

if FASTMASK.missing():
    pytest.skip("fastmask not installed", allow_module_level=True)

from benchmarks import rates
from benchmarks.peaks import peak_call


def test_smoke_multiply_adds(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "multiply-adds"
    benchmark(peak_call())


@pytest.mark.parametrize("case", rates.SHARE_CASES, ids=lambda case: case.name)
def test_one_thread(benchmark: BenchmarkFixture, case: Case) -> None:
    benchmark.group = case.name
    call = rates.layer_call(make_problem(case), 1)
    settle()
    benchmark(call)


@pytest.mark.parametrize("meetings", [0, 1, rates.MEETINGS])
def test_smoke_meeting(benchmark: Any, meetings: int) -> None:
    benchmark.group = "meetings"
    settle()
    benchmark.pedantic(rates.timed, args=(meetings,), rounds=5)
