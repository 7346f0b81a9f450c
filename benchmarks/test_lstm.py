"""LSTM forward: one group for each shape, fill and kind of mask, one test for each contender."""

from __future__ import annotations

from functools import lru_cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import Case, Problem, kind_cases, lstm_cases, make_problem
from benchmarks.limit import limit_calls
from benchmarks.peers import PEERS, Peer, checked_error
from benchmarks.timing import settle

SMOKE = [Case(4, 6, 5, 8, 0.5, kind) for kind in ("right", "left", "holes")]
EVERY = [*lstm_cases(), *(case for cases in kind_cases() for case in cases[1:])]

cached_problem = lru_cache(maxsize=1)(make_problem)


def pairs(cases: list[Case]) -> list[object]:
    """Each case with each peer that can do it."""
    return [
        pytest.param(case, peer, id=f"{case.name}-{peer.name.replace(' ', '-')}")
        for case in cases
        for peer in PEERS
        if peer.takes(case)
    ]


def time_peer(benchmark: BenchmarkFixture, problem: Problem, peer: Peer, threads: int) -> None:
    """Check the peer's result, then time it."""
    if missing := peer.missing():
        pytest.skip(f"{', '.join(missing)} not installed")
    contender = peer.prepare(problem, threads)
    benchmark.group = problem.case.name
    benchmark.extra_info["error"] = checked_error(peer.name, contender, problem)
    settle()
    benchmark(contender.call)


@pytest.mark.parametrize(("case", "peer"), pairs(EVERY))
def test_lstm(benchmark: BenchmarkFixture, case: Case, peer: Peer, threads: int) -> None:
    time_peer(benchmark, cached_problem(case), peer, threads)


@pytest.mark.parametrize("case", lstm_cases(), ids=lambda case: case.name)
def test_limit(benchmark: BenchmarkFixture, case: Case, threads: int) -> None:
    *_, fastest_library = limit_calls(make_problem(case), threads).values()
    benchmark.group = case.name
    settle()
    benchmark(fastest_library)


@pytest.mark.parametrize(("case", "peer"), pairs(SMOKE))
@pytest.mark.benchmark(max_time=0.1)
def test_smoke_lstm(benchmark: BenchmarkFixture, case: Case, peer: Peer, threads: int) -> None:
    time_peer(benchmark, cached_problem(case), peer, threads)
