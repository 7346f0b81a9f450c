"""Startup: whole processes, the interpreter's own start included.

The report subtracts that start; here the cases are only compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import startup
from benchmarks.peers import FASTMASK

pytestmark = [
    pytest.mark.skipif(bool(FASTMASK.missing()), reason="fastmask not installed"),
    pytest.mark.benchmark(group="startup"),
]

SCRIPTS = {
    "import-numpy": startup.IMPORT_NUMPY,
    "import-fastmask": startup.IMPORT_FASTMASK,
    "numba-start": startup.NUMBA_START,
    "first-lstm-call": startup.FIRST_CALL,
}


@pytest.fixture(scope="module")
def cache() -> Iterator[Path]:
    """A folder for compiled code that the tests of this file share."""
    with startup.new_cache() as folder:
        yield folder


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_warm_start(benchmark: Any, cache: Path, script: str) -> None:
    run = startup.run_process
    benchmark.pedantic(run, args=(script, cache), warmup_rounds=1, rounds=5)


def test_cold_first_call(benchmark: Any) -> None:
    benchmark.pedantic(startup.cold_first_call, rounds=3)


def test_smoke_import(benchmark: Any, cache: Path) -> None:
    result = benchmark.pedantic(
        startup.run_process, args=(startup.IMPORT_FASTMASK, cache), rounds=2
    )
    assert result["numba"] is False
