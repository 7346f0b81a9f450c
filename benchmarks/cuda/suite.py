"""The CUDA tests on the device, a process for each file.

The fragment layouts, on which everything else relies, run first and alone; then the other files,
several at a time, since most of their time is compilation. A file that crashes or hangs does not
affect the others.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cuda import outcomes, process
from benchmarks.cuda.process import Budget
from benchmarks.cuda.system import is_dry
from benchmarks.machine import usable_cores

TESTS = process.ROOT / "tests" / "cuda"
FIRST = "test_ptx.py"
# The project's own options need plugins that may be missing, and other versions of libraries may
# emit other warnings.
ON_ANY_MACHINE = ("-o", "addopts=", "-W", "default")
MOST_AT_ONCE = 12  # processes that share the device
OF_TORCH = (
    "../test_torch_gpu.py",
    "../test_torch_cuda.py",
    "../test_torch_cuda_kernels.py",
    "../test_torch_cuda_masks.py",
)

NO_TESTS = 5  # pytest's exit code if a whole file is skipped

Section = dict[str, Any]


def files(simulated: bool) -> list[str]:
    """The files that run kernels, `FIRST` first; in the simulator only that one."""
    if simulated:
        return [FIRST]
    if is_dry():
        return [FIRST, OF_TORCH[0]]
    from tests.cuda.conftest import ANYWHERE

    found = sorted(path.name for path in TESTS.glob("test_*.py") if path.name not in ANYWHERE)
    return [*sorted(found, key=lambda name: name != FIRST), *OF_TORCH]


def run(simulated: bool, budget: Budget, section: Section, changed: Callable[[], None]) -> None:
    """Add the result of each file to `section`, except files already recorded as passed."""
    known = section.setdefault("files", {})
    first, *others = [name for name in files(simulated) if not _passed(known.get(name))] or [""]
    if not first:
        return
    with tempfile.TemporaryDirectory() as folder:
        test = partial(run_file, simulated=simulated, budget=budget, folder=Path(folder))
        _report(first, test(first), section, changed)
        at_once = max(1, min(MOST_AT_ONCE, usable_cores()))
        with ThreadPoolExecutor(at_once) as pool:
            running = {pool.submit(test, name): name for name in others}
            for one in as_completed(running):
                _report(running[one], one.result(), section, changed)


def _passed(found: Section | None) -> bool:
    return found is not None and found["ended"] == "finished" and not found["failed"]


def _report(name: str, found: Section, section: Section, changed: Callable[[], None]) -> None:
    section["files"][name] = found
    counts = ", ".join(f"{found[what]} {what}" for what in ("passed", "failed", "skipped"))
    print(f"{name}: {found['ended']}, {counts}, {found['seconds']:.0f} s", flush=True)
    for test, message in found["failures"].items():
        print(f"  {test}: {message}", flush=True)
    changed()


def run_file(name: str, simulated: bool, budget: Budget, folder: Path) -> Section:
    """Run one file: counts, failures, and how the process ended."""
    written, begun = folder / f"{Path(name).name}.jsonl", time.monotonic()
    options = ("-q", "-p", "no:cacheprovider", "-p", "benchmarks.cuda.outcomes", *ON_ANY_MACHINE)
    command = (sys.executable, "-m", "pytest", *options, str(TESTS / name))
    if budget.left < 1:
        return {"ended": "not begun: no time left", "seconds": 0.0, **outcomes.read(written)}
    variables = {outcomes.VARIABLE: str(written)}
    code, said = process.run(command, budget.left, simulated, variables)
    found = outcomes.read(written)
    if code is None:
        ended = "ended when its time was up"
    elif code in (0, 1, NO_TESTS):
        ended = "finished"
    else:
        ended = f"exit code {code}: {process.shortened(' '.join(said.split()[-50:]))}"
    return {"ended": ended, "seconds": time.monotonic() - begun, **found}
