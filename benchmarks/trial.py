"""What the tests of this folder share: cases paired with peers, and the timing of one pair."""

from __future__ import annotations

from functools import lru_cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import Case, make_problem
from benchmarks.peers import PEERS, Peer, checked_error
from benchmarks.timing import settle

cached_problem = lru_cache(maxsize=1)(make_problem)


def pairs(cases: list[Case], peers: tuple[Peer, ...] = PEERS) -> list[object]:
    """Each case with each peer that can do it."""
    return [
        pytest.param(case, peer, id=f"{case.name}-{peer.name.replace(',', '').replace(' ', '-')}")
        for case in cases
        for peer in peers
        if peer.takes(case)
    ]


def time_peer(
    benchmark: BenchmarkFixture, case: Case, peer: Peer, threads: int, what: str = "forward"
) -> None:
    """Check the peer's result, then time it."""
    if missing := peer.missing():
        pytest.skip(f"{', '.join(missing)} not installed")
    problem = cached_problem(case)
    contender = peer.prepare(problem, threads)
    benchmark.group = f"{what} {case.name}"
    benchmark.extra_info["error"] = checked_error(peer.name, contender, problem)
    settle()
    benchmark(contender.call)
