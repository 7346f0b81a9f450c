"""Padding: one group for each kind of rows, one test for each library."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.padding import PADDERS, Padder, PaddingCase, expected, make_rows, padding_cases
from benchmarks.timing import settle

SMOKE = [PaddingCase(case.source, case.values, case.padding, rows=50) for case in padding_cases()]

cached_rows = lru_cache(maxsize=1)(make_rows)


def case_name(case: PaddingCase) -> str:
    return case.name


def padder_name(padder: Padder) -> str:
    return padder.name


def time_padder(benchmark: BenchmarkFixture, case: PaddingCase, padder: Padder) -> None:
    """Check the padder's result, then time it."""
    if missing := padder.missing():
        pytest.skip(f"{', '.join(missing)} not installed")
    rows = cached_rows(case)
    call = padder.prepare(case, rows)
    np.testing.assert_array_equal(np.asarray(call()), expected(case, rows))
    benchmark.group = f"{case.name}, {case.rows} rows"
    settle()
    benchmark(call)


@pytest.mark.parametrize("padder", PADDERS, ids=padder_name)
@pytest.mark.parametrize("case", padding_cases(), ids=case_name)
def test_padding(benchmark: BenchmarkFixture, case: PaddingCase, padder: Padder) -> None:
    time_padder(benchmark, case, padder)


@pytest.mark.parametrize("padder", PADDERS, ids=padder_name)
@pytest.mark.parametrize("case", SMOKE, ids=case_name)
@pytest.mark.benchmark(max_time=0.1)
def test_smoke_padding(benchmark: BenchmarkFixture, case: PaddingCase, padder: Padder) -> None:
    time_padder(benchmark, case, padder)
