"""Options and fixtures of the benchmarks."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bench-threads", type=int, default=2, help="CPU threads of every library (2)"
    )


@pytest.fixture(scope="session")
def threads(request: pytest.FixtureRequest) -> int:
    """CPU threads that every library may use."""
    return int(request.config.getoption("--bench-threads"))
