"""Test and measure on the GPU at hand: JSON, a Markdown page and pictures.

    python -m benchmarks.cuda [--out build/benchmarks/cuda.json] [--minutes 14]
        [--only compile,tests,timings,sanitizer|none] [--seconds 0.2] [--resume]
        [--simulate | --dry-run]

The JSON is written after each step, the page and the pictures (beside it) after each part; results
that the project keeps are in benchmarks/results, named after the device, such as h100.json. Parts
that are not measured in this run stay in the file unchanged; `--only none` only draws the page and
the pictures again. What did not fit into the time is listed, and `--resume` continues with it, in
every part. The exit code is 2 if nothing can be measured here, 1 if a test, a tool or a result was
wrong, else 0.

`--dry-run` runs all parts on a stub driver that runs no kernel, with tiny sizes; the exit code is 1
if something did not finish.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cuda import (
    cases,
    compiled,
    goals,
    page,
    picture,
    sanitizer,
    suite,
    system,
    timings,
)
from benchmarks.cuda.process import Budget, Failed, Worker
from benchmarks.machine import cpu_model, installed_version, usable_cores
from benchmarks.tables import goal_table

OUT = Path("build", "benchmarks", "cuda.json")  # a folder that git ignores
PARTS = ("compile", "tests", "timings", "sanitizer")  # nothing else runs beside the timings
SHARES = {"compile": 0.25, "tests": 0.3, "timings": 0.75}  # of the time left when a part starts
OF_TESTS = {"tests", "sanitizer"}  # parts that use the project's tests
KEPT_SECONDS = 15.0  # reserved for the page and the pictures
PACKAGES = ("fastmask-rnn", "numba", "numba-cuda", "cuda-bindings", "numpy", "torch", "flashrnn")

Report = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    options = parse(arguments)
    if OF_TESTS & set(options.only):
        system.require_tests()
    if options.dry_run:
        os.environ[system.DRY_RUN] = "1"  # inherited by all child processes
    whole = Budget.of(max(60 * options.minutes - KEPT_SECONDS, 1.0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left running
    out: Path = options.out
    report: Report = json.loads(out.read_text()) if out.exists() else {}
    if options.only:
        with Worker(options.simulate) as worker:
            try:
                found = timings.describe(worker)
            except Failed as failure:
                print(f"benchmarks.cuda: nothing to measure with: {failure}", file=sys.stderr)
                return 2
            before = report.get("about", {}).get("device", found["device"])
            if options.resume and before != found["device"]:
                print(f"benchmarks.cuda: {out} is of another device, {before}", file=sys.stderr)
                return 2
            report["about"] = about(found, arguments)
            out.parent.mkdir(parents=True, exist_ok=True)
            measure(report, worker, options, whole)
    elif not report:
        print(f"benchmarks.cuda: there are no results in {out}", file=sys.stderr)
        return 2
    write(report, out)
    for caveat in page.caveats(report["about"]):
        print(caveat)
    print(goal_table(goals.goals(report.get("timings", {}).get("groups", []))))
    print(f"written to {out} and {out.with_suffix('.md').name}")
    return int(bool(unfinished(report, options.only) if options.dry_run else wrong(report)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, default=OUT, help=f"JSON file to write ({OUT})")
    parser.add_argument("--minutes", type=float, default=14, help="for everything")
    parser.add_argument("--seconds", type=float, default=0.2, help="for timing each contender")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to do, or none")
    parser.add_argument("--resume", action="store_true", help="keep what is in the file")
    parser.add_argument("--simulate", action="store_true", help="tiny cases, in the simulator")
    parser.add_argument("--dry-run", action="store_true", help="tiny cases, results do not count")
    options = parser.parse_args(arguments)
    options.only = [] if options.only == "none" else options.only.split(",")
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"--only takes {', '.join(PARTS)} or none, not {', '.join(unknown)}")
    for name in ("minutes", "seconds"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name} must be positive, not {getattr(options, name)}")
    if options.out.suffix != ".json":
        parser.error(f"--out must end in .json, not {options.out}")
    return options


def about(found: Report, arguments: list[str] | None) -> Report:
    """The device, the host and the run."""
    given = sys.argv[1:] if arguments is None else arguments
    return {
        **found,
        "nvidia_smi": None if found["simulated"] else system.queried(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "benchmarks.cuda", *given]),
        "cpu": f"{cpu_model()}, {usable_cores()} cores",
        "versions": {name: installed_version(name) for name in PACKAGES},
    }


def measure(report: Report, worker: Worker, options: argparse.Namespace, whole: Budget) -> None:
    """Run the chosen parts, each with its share of the time."""
    save = partial(write_json, report, options.out)
    for name in PARTS:
        if name not in options.only:
            continue
        share = 1.0 if name == max(options.only, key=PARTS.index) else SHARES[name]
        budget = whole.part(share)
        print(f"== {name}: at most {budget.left:.0f} s", flush=True)
        if not options.resume:
            report[name] = {}
        section: Report = report.setdefault(name, {})
        try:
            part(name, worker, options, budget, section, report["about"]["absent"], save)
        except Exception as error:
            section["error"] = f"{type(error).__name__}: {error}"
            print(f"{name}: {section['error']}", flush=True)
        write(report, options.out)


def part(
    name: str,
    worker: Worker,
    options: argparse.Namespace,
    budget: Budget,
    section: Report,
    absent: dict[str, str],
    save: Callable[[], None],
) -> None:
    """Run one part."""
    simulate = options.simulate
    tiny = simulate or options.dry_run
    trials = cases.tiny_trials() if tiny else cases.trials()
    if name == "compile":
        worker.stop()  # which holds memory of the device
        make_worker = partial(Worker, simulate)
        compiled.run([] if simulate else trials, absent, budget, section, save, make_worker)
    elif name == "tests":
        suite.run(simulate, budget, section, save)
    elif name == "sanitizer":
        sanitizer.run(simulate, budget, section, save)
    else:
        costs = worker.ask({"do": "costs"}, timings.START_SECONDS)
        timings.measure(worker, trials, costs, absent, options.seconds, budget, section, save)


def unfinished(report: Report, parts: list[str]) -> list[str]:
    """What did not finish, right or wrong."""
    found = [name for name in parts if "error" in report.get(name, {"error": "not begun"})]
    left = [n for part in ("compile", "timings") for n in report.get(part, {}).get("left_out", [])]
    failed = list(report.get("compile", {}).get("failed", []))
    files = report.get("tests", {}).get("files", {})
    files_left = [name for name, told in files.items() if told["ended"] != "finished"]
    groups = report.get("timings", {}).get("groups", [])
    return found + left + failed + files_left + [n for group in groups for n in group["failed"]]


def wrong(report: Report) -> bool:
    """Whether anything that was tested is wrong; being slow is not wrong."""
    files = report.get("tests", {}).get("files", {}).values()
    tools = report.get("sanitizer", {}).get("tools", {}).values()
    groups = report.get("timings", {}).get("groups", [])
    return (
        any("error" in report.get(name, {}) for name in PARTS)
        or bool(report.get("compile", {}).get("failed"))
        or any(found["failed"] or found["ended"] != "finished" for found in files)
        or any(not found["clean"] for found in tools)
        or any(name.startswith("fastmask") for group in groups for name in group["failed"])
    )


def write(report: Report, out: Path) -> None:
    """Write JSON, pictures and page."""
    write_json(report, out)
    groups = report.get("timings", {}).get("groups", [])
    device = report["about"].get("device", "CUDA")
    drawn = []
    for training, name in ((False, "forward"), (True, "training")):
        path = out.with_name(f"{out.stem}-{name}.svg")
        if picture.draw(device, groups, training, path):
            drawn.append(path)
    out.with_suffix(".md").write_text(page.render(report, drawn))


def write_json(report: Report, out: Path) -> None:
    """Write the JSON atomically, so that the file is complete at any time."""
    partial_file = out.with_name(f".{out.name}.part")
    partial_file.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(partial_file, out)


if __name__ == "__main__":
    sys.exit(system.status(main))
