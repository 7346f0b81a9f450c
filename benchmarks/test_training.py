"""Forward and backward calls: one group for each cell, shape and fill, a test a contender."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import Case, make_problem, training_cases
from benchmarks.cells import CELLS
from benchmarks.limit import TRAINING, limit_calls
from benchmarks.memory import peak_growth
from benchmarks.peers import Peer
from benchmarks.timing import settle
from benchmarks.training import PACKED, RECOMPUTE, TRAINERS
from benchmarks.trial import pairs, time_peer

SMOKE = [Case(4, 6, 5, 8, 0.5, cell=cell, layers=layers) for cell in CELLS for layers in (1, 2)]


@pytest.mark.parametrize(("case", "peer"), pairs(training_cases(), TRAINERS))
def test_training(benchmark: BenchmarkFixture, case: Case, peer: Peer, threads: int) -> None:
    time_peer(benchmark, case, peer, threads, "training")


@pytest.mark.parametrize("case", training_cases(), ids=lambda case: case.name)
def test_training_limit(benchmark: BenchmarkFixture, case: Case, threads: int) -> None:
    *_, fastest_library = limit_calls(make_problem(case), threads, TRAINING).values()
    benchmark.group = f"training {case.name}"
    settle()
    benchmark(fastest_library)


@pytest.mark.parametrize(("case", "peer"), pairs(SMOKE, TRAINERS))
@pytest.mark.benchmark(max_time=0.1)
def test_smoke_training(benchmark: BenchmarkFixture, case: Case, peer: Peer, threads: int) -> None:
    time_peer(benchmark, case, peer, threads, "training")


@pytest.mark.parametrize("peer", [RECOMPUTE, PACKED], ids=lambda peer: peer.name)
def test_smoke_memory(peer: Peer, threads: int) -> None:
    if missing := peer.missing():
        pytest.skip(f"{', '.join(missing)} not installed")
    case = Case(32, 100, 32, 64)
    gradient_of_input = 4 * case.batch * case.time * case.features
    assert peak_growth(case, peer.name, threads) > gradient_of_input
