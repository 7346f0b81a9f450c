"""Runs the tests of `stub`, one process per file: the real packages on a driver stub."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import stub

REASON = stub.missing()
FILES = sorted((Path(__file__).parent / "stub").glob("test_*.py"))


@pytest.mark.skipif(REASON is not None, reason=str(REASON))
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(
            path.name,
            marks=pytest.mark.own_process(str(path), **({} if REASON else stub.environment())),
        )
        for path in FILES
    ],
)
def test_on_the_stub(file: str, own_process: str) -> None:
    assert " passed" in own_process
    assert " skipped" not in own_process
