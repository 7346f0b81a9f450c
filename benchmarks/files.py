"""From a Parquet file to predictions in another one: how much of the time kernels take, and memory.

    python -m benchmarks.files [--rows 100000] [--steps 50] [--units 128]

A new process reads lists of ids, runs an embedding and an LSTM, and writes vectors, as `fastmask
predict` does. What counts is the share of its time, after imports and the loading of the model,
that passes inside calls of kernels, and the peak of its resident memory, imports included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak

WORDS, FEATURES = 10_000, 64
SEED = 5
SPREADS = {"rows of one length": 0.0, "rows of many lengths": 0.6}  # sigma of their logarithm
SHARE_WANTED, BYTES_WANTED = 0.8, 1e9


def write_inputs(folder: Path, rows: int, steps: int, units: int, spread: float) -> None:
    """A model, and a file of ids, with so many steps a row on average."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    import fastmask as fm

    random = np.random.default_rng(SEED)
    lengths = random.lognormal(-(spread**2) / 2, spread, rows) * steps
    lengths = np.maximum(1, lengths.round().astype(np.int64))
    values = random.integers(1, WORDS, lengths.sum()).astype(np.int32)
    ids = fm.Ragged(values, np.append(0, np.cumsum(lengths))).to_arrow()
    pq.write_table(pa.table({"ids": ids.cast(pa.list_(pa.int32()))}), folder / "in.parquet")
    embedding = fm.layers.Embedding(WORDS, FEATURES, mask_zero=True)
    model = fm.Sequential([embedding, fm.layers.LSTM(units)])
    model.build((None, None))
    fm.save_model(model, folder / "model.npz")


def measure(rows: int, steps: int, units: int, spread: float) -> dict[str, float]:
    """Seconds, seconds in kernels, and the peak of memory in bytes, of a new process."""
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), rows, steps, units, spread)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.files", "--here", name],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parent.parent,
        )
    if done.returncode:
        raise RuntimeError(f"a process that predicts failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_here(folder: Path) -> dict[str, float]:
    """The same in this process, which should be new."""
    import pyarrow.parquet as pq

    from fastmask.backends.host import HOST
    from fastmask.commands import predict

    one = pq.read_table(folder / "in.parquet").slice(0, 2)
    pq.write_table(one, folder / "small.parquet")
    model, output = folder / "model.npz", folder / "out.parquet"
    predict.run(predict.Options(model, folder / "small.parquet", output, ["ids"]))  # compiles
    clock = Clock()
    kind: Any = type(HOST)
    for name in ("call", "run"):
        setattr(kind, name, clock.around(getattr(kind, name)))
    start = time.perf_counter()
    rows = predict.run(predict.Options(model, folder / "in.parquet", output, ["ids"]))
    seconds = time.perf_counter() - start
    return {"rows": rows, "seconds": seconds, "kernels": clock.seconds, "bytes": peak()}


class Clock:
    """Adds up the time that passes in some functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure_here(options.here)))
        return
    for name, spread in SPREADS.items():
        found = measure(options.rows, options.steps, options.units, spread)
        share = found["kernels"] / found["seconds"]
        print(
            f"{name}: {found['rows']:,} in {found['seconds']:.2f} s, {share:.0%} of it in kernels "
            f"(wanted: {SHARE_WANTED:.0%}), at most {found['bytes'] / 1e6:.0f} MB "
            f"(wanted: {BYTES_WANTED / 1e6:.0f})"
        )


if __name__ == "__main__":
    main()
