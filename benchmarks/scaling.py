"""Rows a second of `fastmask predict` on one worker, on two, and by simulation on many.

    pip install -e ".[bench,dask,ray]" && python -m benchmarks.scaling --write

measures on this machine what a part costs to read, compute and write, what an engine costs to start
and to hand out a part, and how fast each engine is with one worker and with two. From that it
simulates larger jobs. It measures, too, how evenly batches by valid steps keep the processes of
data-parallel training busy. --write puts the tables into docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm
from benchmarks import ranks, simulation
from benchmarks.blocks import write_block
from benchmarks.machine import describe, machine_name, processor
from benchmarks.markdown import number, table
from benchmarks.simulation import Job
from fastmask import tables
from fastmask.commands import engines, parts
from fastmask.commands.predict import Options

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "scaling.md", ROOT / "benchmarks" / "results" / "scaling"
FILES, WORDS, STEPS, UNITS = 32, 20_000, 50, 128
LARGE, WORKERS = 10**9, (2, 8, 64, 512, 4096)
TASKS = 200  # tasks that do nothing, to time how parts are handed out


def make_job(folder: Path, rows: int, files: int = FILES) -> Options:
    """A model, and a folder of sequences of 50 steps on average."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    layers = fm.layers
    model = fm.Sequential(
        [layers.Embedding(WORDS, 64, mask_zero=True), layers.LSTM(UNITS), layers.Dense(1)]
    )
    model.build((None, None))
    fm.save_model(model, folder / "model.npz")
    random = np.random.default_rng(0)
    (folder / "in").mkdir()
    for file in range(files):
        lengths = np.minimum(random.poisson(STEPS, rows // files), 2 * STEPS)
        ids = random.integers(1, WORDS, lengths.sum()).astype(np.int32)
        offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
        columns = {
            "id": pa.array(np.arange(len(lengths))),
            "ids": pa.ListArray.from_arrays(offsets, ids),
        }
        pq.write_table(pa.table(columns), folder / "in" / f"{file:04}.parquet")
    return Options(folder / "model.npz", folder / "in", folder / "out", ("ids",))


def part_times(options: Options, threads: int) -> dict[str, Any]:
    """Seconds of each part in this process, and of reading and computing among these."""
    found = parts.parts_of(options)
    predictor, parquet = (
        parts.predictor_of(options, threads),
        tables.format_of(found[0].source),
    )
    parts.write_part(options, threads, found[0])  # compiles, and loads what is loaded once
    whole, reading, computing = [], 0.0, 0.0
    for part in found:
        begin = time.perf_counter()
        parts.write_part(options, threads, part)
        whole.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    batches = list(parquet.batches(found[0].source, parts.most_rows(options), found[0].groups))
    reading = time.perf_counter() - begin
    begin = time.perf_counter()
    for batch in batches:
        predictor.columns(batch)
    computing = time.perf_counter() - begin
    groups = [size for part in found for _, size in parquet.row_groups(part.source)]
    return {
        "seconds": whole,
        "reading": reading / whole[0],
        "computing": computing / whole[0],
        "rows": sum(part.rows for part in found),
        "bytes": sum(groups),
        "written": sum(part.target.stat().st_size for part in found),
    }


def command_seconds(options: Options, engine: str, workers: int) -> float:
    """Seconds of the command from its start to its end; each worker has one thread."""
    with tempfile.TemporaryDirectory(dir=options.output.parent) as output:
        words = ["predict", options.model, options.input, "--column", "ids", "--output", output]
        options_of_engine = ["--engine", engine, "--workers", workers]
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "fastmask", *map(str, [*words, *options_of_engine])],
            check=True,
            env={**os.environ, "FASTMASK_NUM_THREADS": "1"},
        )
        return time.perf_counter() - begin


def hand_out_seconds(engine: str, options: Options) -> float:
    """Seconds that the driver takes for a part, measured with parts that do nothing."""
    with engines.ENGINES[engine](2) as submit:
        [future.result() for future in [submit(parts.most_rows, options) for _ in range(8)]]
        begin = time.perf_counter()
        for future in [submit(parts.most_rows, options) for _ in range(TASKS)]:
            future.result()
        return (time.perf_counter() - begin) / TASKS


def measure(rows: int, repeats: int) -> dict[str, Any]:
    """All that the tables need."""
    found: dict[str, Any] = {"machine": describe(1, False), "engines": {}}
    with tempfile.TemporaryDirectory() as large, tempfile.TemporaryDirectory() as small:
        job, tiny = make_job(Path(large), rows), make_job(Path(small), 64, 2)
        for threads in (1, 2):
            found[f"threads_{threads}"] = part_times(job, threads)
        for engine in engines.ENGINES:
            if find_spec(engines.NEEDS.get(engine, "fastmask")) is None:
                continue
            found["engines"][engine] = {
                "start": min(command_seconds(tiny, engine, 2) for _ in range(repeats)),
                "hand_out": hand_out_seconds(engine, tiny),
                **{
                    f"workers_{workers}": min(
                        command_seconds(job, engine, workers) for _ in range(repeats)
                    )
                    for workers in (1, 2)
                },
            }
    found["ranks"] = ranks.measure()
    return found


def tables_of(found: dict[str, Any]) -> str:
    """The generated part of the page."""
    one, machine = found["threads_1"], found["machine"]
    about = (
        f"{processor(machine)}, {machine['cores']} cores, {machine['date']}, "
        f"load {machine['load']} at the start; {one['rows']:,} rows of {STEPS} steps on average, "
        f"Embedding(64) -> LSTM({UNITS}) -> Dense(1). Of a part's time {one['reading']:.0%} goes "
        f"into reading and {one['computing']:.0%} into computing; a row has "
        f"{one['bytes'] / one['rows']:.0f} bytes before compression."
    )
    return "\n\n".join(
        [
            about,
            _measured(found),
            "By simulation, the same job on more workers (estimates):",
            _simulated(found),
            f"A job of {LARGE:,} such rows in files of one part each (estimates):",
            _large(found),
            "## Training on many processes",
            ranks.table_of(found["ranks"]),
        ]
    )


def _job(found: dict[str, Any], engine: str) -> Job:
    own = found["engines"][engine]
    return Job(_beside(found, engine), own["start"], own["hand_out"])


def _beside(found: dict[str, Any], engine: str) -> list[float]:
    """Seconds of each part while another worker computes beside it: caches and clock are shared."""
    own, seconds = found["engines"][engine], found["threads_1"]["seconds"]
    both = max(2 * (own["workers_2"] - own["start"]), sum(seconds))
    return [one * both / sum(seconds) for one in seconds]


def _measured(found: dict[str, Any]) -> str:
    rows = found["threads_1"]["rows"]
    lines = [
        [f"one process, threads: {n}", "", "", number(rows / sum(own["seconds"])), "", "", ""]
        for n in (1, 2)
        for own in [found[f"threads_{n}"]]
    ]
    for engine, own in found["engines"].items():
        one, two, start = own["workers_1"], own["workers_2"], own["start"]
        simulated = simulation.seconds(
            Job(found["threads_1"]["seconds"], start, own["hand_out"]), 2
        )
        lines.append(
            [
                f"--engine {engine}",
                number(start),
                number(1e3 * own["hand_out"]),
                f"{number(rows / one)} and {number(rows / two)}",
                f"{one / two:.2f}",
                f"{(one - start) / max(two - start, 1e-9):.2f}",
                f"{one / simulated:.2f}",
            ]
        )
    titles = [
        *("", "start to end without work, s", "handing out a part, ms"),
        *("rows per second, with one worker and with two", "times as fast with two"),
        *("without start-up", "simulated from parts"),
    ]
    return table(titles, lines)


def _simulated(found: dict[str, Any]) -> str:
    lines = []
    for engine in found["engines"]:
        job = _job(found, engine)
        cells = [
            f"{found['threads_1']['rows'] / simulation.seconds(job, n):,.0f} "
            f"({simulation.efficiency(job, n):.0%})"
            for n in WORKERS[:3]
        ]
        lines.append([engine, *cells])
    return table(["rows per second (busy)", *(f"{n} workers" for n in WORKERS[:3])], lines)


def _large(found: dict[str, Any]) -> str:
    one = found["threads_1"]
    row_bytes = one["bytes"] / one["rows"]
    rows = int(parts.PART_BYTES / row_bytes)
    lines = []
    engine = next(name for name in ("ray", "dask", "local") if name in found["engines"])
    measured = _beside(found, engine)
    for workers in WORKERS:
        count = -(-LARGE // rows)
        mean = sum(measured) / one["rows"] * rows
        own = found["engines"][engine]
        job = Job(simulation.scaled(measured, count, mean), own["start"], own["hand_out"])
        taken = simulation.seconds(job, workers)
        lines.append(
            [
                f"{workers:,}",
                f"{taken / 3600:.2g}",
                f"{simulation.efficiency(job, workers):.0%}",
                f"{LARGE * row_bytes / taken / 1e6:,.0f}",
                simulation.bound(job, workers),
            ]
        )
    titles = ["workers", "hours", "busy", "MB read per second", f"limited by ({engine})"]
    return table(titles, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=320_000)
    parser.add_argument("--repeats", type=int, default=1, help="of which the best one counts")
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md and results")
    arguments = parser.parse_args()
    found = measure(arguments.rows, arguments.repeats)
    text = tables_of(found)
    print(text)
    if arguments.write:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{machine_name()}.json").write_text(json.dumps(found, indent=1) + "\n")
        write_block(PAGE, "scaling", f"\n{text}\n\n")


if __name__ == "__main__":
    main()
