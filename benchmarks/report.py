"""Measure on the CPU, and write the numbers, a page and its pictures.

    python -m benchmarks.report [--quick] [--only lstm,training] [--threads 2]
                                [--machine NAME] [--out FOLDER | --publish]

Everything goes to build/benchmarks, which git ignores: benchmarks.md, its pictures and the numbers,
cpu/NAME.json. With `--publish` the page goes to docs, a table of it into the README, and the
numbers to benchmarks/results/cpu, a file for each machine: the page shows this machine in full, and
beside it what the others reached.

The sections are lstm, gru, rnn, quantized, training, memory, streaming, padding, startup and
rates.
Sections that this run does not measure stay as they are in the numbers, so that one of them can be
measured again alone; `--only none` draws everything again from those numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.measure import Section

SECTIONS = (
    *("lstm", "gru", "rnn", "quantized", "training", "memory", "streaming"),
    *("padding", "startup", "rates"),
)
BLAS_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
OUT = Path("build", "benchmarks")
PUBLISHED, RESULTS = Path("docs"), Path("benchmarks", "results")
NUMBERS = "cpu"  # the folder of the numbers of machines
PICTURES = {"lstm": "benchmarks.svg", "training": "benchmarks-training.svg"}


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    options = parse(arguments)  # before the imports: --help needs no extra
    if misleading := [name for name in BLAS_SETTINGS if name in os.environ]:
        raise SystemExit(
            f"unset {' and '.join(misleading)}: NumPy is to choose as it does for users"
        )
    try:
        from benchmarks.machine import describe, machine_name

        sections = measurements(options)
    except ImportError as error:
        raise SystemExit(f'{error}: pip install -e ".[bench]" in the checkout') from error
    options.out.mkdir(parents=True, exist_ok=True)
    machines = options.results / NUMBERS
    machines.mkdir(parents=True, exist_ok=True)
    raw = machines / f"{options.machine or machine_name()}.json"
    report: dict[str, Any] = json.loads(raw.read_text()) if raw.exists() else {}
    about = describe(options.threads, options.quick)
    for name, section in sections.items():
        report[name] = {"about": about, **section()}
        raw.write_text(json.dumps(report, indent=1) + "\n")
    others = [
        json.loads(path.read_text()) for path in sorted(machines.glob("*.json")) if path != raw
    ]
    write(report, others, options.out)
    if options.publish:
        from benchmarks.claim import write_claim

        write_claim([report, *others], Path("README.md"))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="few cases and short times")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections to measure, or none")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of every library")
    parser.add_argument("--seconds", type=float, help="time for each case (3, or 0.5 if quick)")
    parser.add_argument(
        "--machine", metavar="NAME", help="of the file of numbers (default: the processor's name)"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, default=OUT, help=f"folder to write to ({OUT})")
    where.add_argument(
        "--publish", action="store_true", help=f"page to {PUBLISHED}, numbers to {RESULTS}"
    )
    options = parser.parse_args(arguments)
    options.only = [] if options.only == "none" else options.only.split(",")
    if unknown := set(options.only) - set(SECTIONS):
        parser.error(f"--only takes {', '.join(SECTIONS)} or none, not {', '.join(unknown)}")
    if options.seconds is None:
        options.seconds = 0.5 if options.quick else 3.0
    options.out, options.results = (
        (PUBLISHED, RESULTS) if options.publish else (options.out, options.out)
    )
    return options


def measurements(options: argparse.Namespace) -> dict[str, Callable[[], Section]]:
    """The measurements that were asked for, each as a function to call."""
    from benchmarks import measure
    from benchmarks.cells import CELLS

    threads, seconds, quick = options.threads, options.seconds, options.quick
    every: dict[str, Callable[[], Section]] = {
        **{cell: partial(measure.measure_forward, cell, threads, seconds, quick) for cell in CELLS},
        "quantized": lambda: measure.measure_quantized(threads, seconds, quick),
        "training": lambda: measure.measure_training(threads, seconds, quick),
        "memory": lambda: measure.measure_memory(threads, quick),
        "streaming": lambda: measure.measure_streaming(threads, seconds),
        "padding": lambda: measure.measure_padding(seconds),
        "startup": lambda: measure.measure_startup(*((3, 1) if quick else (11, 3))),
        "rates": lambda: measure.measure_rates(threads, seconds),
    }
    return {name: every[name] for name in SECTIONS if name in options.only}


def write(report: dict[str, Any], others: list[dict[str, Any]], folder: Path) -> None:
    """Write the pictures and the page, sections in their usual order."""
    from benchmarks.picture import draw
    from benchmarks.tables import render

    pictures = {
        name: picture
        for name, picture in PICTURES.items()
        if name in report and draw(name, report[name], folder / picture)
    }
    page = folder / "benchmarks.md"
    ordered = {name: report[name] for name in SECTIONS if name in report}
    page.write_text(render(ordered, pictures, others))
    print("wrote", *[str(folder / name) for name in (page.name, *pictures.values())])


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly if the reader is gone
    main()
