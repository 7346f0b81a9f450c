"""compute-sanitizer on some small kernel calls: bad addresses, races, unset memory, barriers."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cuda import process
from benchmarks.cuda.process import Budget

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")  # the most informative first
CHECKED = (sys.executable, "-m", "benchmarks.cuda.small")
OPTIONS = ("--error-exitcode", "9", "--print-limit", "5")
# Numba probes for driver functions that may be missing; that is no error of the kernels.
MORE = {"memcheck": ("--report-api-errors", "no")}
_SUMMARY = re.compile(r"=+ (ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard).*")

Section = dict[str, Any]


def program() -> str | None:
    """The path of compute-sanitizer, None if it is not installed."""
    roots = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    folders = [Path(root) / "bin" for root in (*roots, "/usr/local/cuda") if root]
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
    return shutil.which("compute-sanitizer", path=path)


def run(simulated: bool, budget: Budget, section: Section, changed: Callable[[], None]) -> None:
    """Add the findings of each tool to `section`, except tools already recorded as clean."""
    known = section.setdefault("tools", {})
    found = program()
    section["program"] = found
    if found is None:
        print("compute-sanitizer is not installed", flush=True)
        return
    for number, tool in enumerate(TOOLS):
        if known.get(tool, {}).get("clean"):
            continue
        share = 1 / (len(TOOLS) - number) if number else 0.5
        known[tool] = run_tool(found, tool, simulated, budget.part(share))
        print(f"{tool}: {known[tool]['result']}", flush=True)
        changed()


def run_tool(found: str, tool: str, simulated: bool, budget: Budget) -> Section:
    """One tool: how many errors, and the last lines if there were any."""
    begun = time.monotonic()
    command = (found, "--tool", tool, *OPTIONS, *MORE.get(tool, ()), *CHECKED)
    code, said = process.run(command, budget.left, simulated)
    errors = errors_of(said)
    if code is None:
        result = "ended when its time was up"
    elif errors is None:
        result = f"no summary, exit code {code}: {process.shortened(said[-300:])}"
    else:
        result = f"{errors} errors"
        if code not in (0, 9) or (code and not errors):
            result += f", but exit code {code}: {process.shortened(said[-300:])}"
    lines = [line for line in said.splitlines() if line.startswith("=====")]
    return {
        "result": result,
        "errors": errors,
        "clean": code == 0 and errors == 0,
        "seconds": time.monotonic() - begun,
        "report": lines[-40:] if errors else [],
    }


def errors_of(said: str) -> int | None:
    """The number in the summary line, None without one."""
    found = _SUMMARY.search(said)
    return int(found[2] or found[3]) if found else None
