"""A pytest plugin that records each test when it starts and when it ends.

    FASTMASK_TEST_OUTCOMES=FILE pytest -p benchmarks.cuda.outcomes ...      a line of JSON each

If a run has to be killed, the file shows what had passed and which test was running.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest  # `read` does without it

VARIABLE = "FASTMASK_TEST_OUTCOMES"
MESSAGE = 300


def _write(**entry: Any) -> None:
    with open(os.environ[VARIABLE], "a") as file:
        file.write(json.dumps(entry) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    _write(test=nodeid, outcome="begun")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _write(test=report.nodeid, outcome="failed", message=last_line(report.longreprtext))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        message = last_line(report.longreprtext) if report.failed else ""
        _write(test=report.nodeid, outcome=report.outcome, message=message)


def last_line(text: str) -> str:
    """The last line of pytest's report of a failure: the error, or where it came from."""
    lines = [line.removeprefix("E").strip() for line in text.splitlines() if line.startswith("E ")]
    return (lines or text.strip().splitlines()[-1:] or [""])[0][:MESSAGE]


def read(path: Path) -> dict[str, Any]:
    """Counts, failures with their messages, and tests that started and never ended."""
    entries = _entries(path.read_text().splitlines() if path.exists() else [])
    last: dict[str, dict[str, Any]] = {entry["test"]: entry for entry in entries}
    counts = {
        outcome: sum(entry["outcome"] == outcome for entry in last.values())
        for outcome in ("passed", "failed", "skipped")
    }
    failures = {e["test"]: e["message"] for e in last.values() if e["outcome"] == "failed"}
    begun = [entry["test"] for entry in last.values() if entry["outcome"] == "begun"]
    # A test whose set-up passed and that was never called was interrupted, too.
    return {**counts, "failures": failures, "unfinished": begun}


def _entries(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Only complete lines: the last one may have been cut off."""
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
