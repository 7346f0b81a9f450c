"""One step of many streams: one group for each cell, a test for each way to do it."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import Case
from benchmarks.cells import CELLS
from benchmarks.peers import Peer
from benchmarks.streaming import STEPPERS, streaming_case, streaming_cases
from benchmarks.trial import pairs, time_peer


@pytest.mark.parametrize(("case", "peer"), pairs(streaming_cases(), STEPPERS))
def test_streaming(benchmark: BenchmarkFixture, case: Case, peer: Peer, threads: int) -> None:
    time_peer(benchmark, case, peer, threads, "step")


@pytest.mark.parametrize(
    ("case", "peer"), pairs([streaming_case(cell, 100) for cell in CELLS], STEPPERS)
)
@pytest.mark.benchmark(max_time=0.1)
def test_smoke_streaming(benchmark: BenchmarkFixture, case: Case, peer: Peer, threads: int) -> None:
    time_peer(benchmark, case, peer, threads, "step")
