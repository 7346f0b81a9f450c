"""Forward calls: one group for each cell, shape, fill and kind of mask, a test a contender."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import Case, forward_cases, kind_cases, make_problem
from benchmarks.cells import CELLS
from benchmarks.limit import limit_calls
from benchmarks.peers import Peer
from benchmarks.timing import settle
from benchmarks.trial import pairs, time_peer

SMOKE = [Case(4, 6, 5, 8, 0.5, kind, cell) for cell in CELLS for kind in ("right", "left", "holes")]
FORWARD = [case for cell in CELLS for case in forward_cases(cell)]
KINDS = [case for cell in CELLS for cases in kind_cases(cell) for case in cases[1:]]


@pytest.mark.parametrize(("case", "peer"), pairs(FORWARD + KINDS))
def test_forward(benchmark: BenchmarkFixture, case: Case, peer: Peer, threads: int) -> None:
    time_peer(benchmark, case, peer, threads)


@pytest.mark.parametrize("case", FORWARD, ids=lambda case: case.name)
def test_limit(benchmark: BenchmarkFixture, case: Case, threads: int) -> None:
    *_, fastest_library = limit_calls(make_problem(case), threads).values()
    benchmark.group = f"forward {case.name}"
    settle()
    benchmark(fastest_library)


@pytest.mark.parametrize(("case", "peer"), pairs(SMOKE))
@pytest.mark.benchmark(max_time=0.1)
def test_smoke_forward(benchmark: BenchmarkFixture, case: Case, peer: Peer, threads: int) -> None:
    time_peer(benchmark, case, peer, threads)
