"""From one Parquet file to predictions in another: the share of time in kernels, and the memory.

    python -m benchmarks.files [--rows 100000] [--steps 50] [--units 128]

A new process reads lists, of ids for an embedding or of vectors, runs an LSTM, and writes a vector
for each row, as `fastmask predict` does. What counts is the share of its time, after imports, that
is spent in calls of kernels, and the peak of its resident memory, imports included.
Vectors take much copying: each step of 16 numbers is read, and written again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak
from benchmarks.new_process import measured

WORDS, FEATURES = 10_000, 64
SEED = 5
# The sigma of the logarithm of lengths, and how many numbers a step has; 0 for ids.
CASES = {"ids, one length": (0.0, 0), "ids": (0.6, 0), "vectors of 16": (0.6, 16)}
SHARE_WANTED, BYTES_WANTED = 0.8, 1e9


def write_inputs(
    folder: Path, rows: int, steps: int, units: int, spread: float, features: int
) -> None:
    """Write a model, and a file of sequences that have `steps` steps a row on average."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    import fastmask as fm

    random = np.random.default_rng(SEED)
    lengths = random.lognormal(-(spread**2) / 2, spread, rows) * steps
    lengths = np.maximum(1, lengths.round().astype(np.int64))
    offsets = np.append(0, np.cumsum(lengths))
    reader = fm.layers.LSTM(units)
    if features:
        values = random.standard_normal((offsets[-1], features), np.float32)
        model = fm.Sequential([reader])
    else:
        values = random.integers(1, WORDS, offsets[-1]).astype(np.int32)
        model = fm.Sequential([fm.layers.Embedding(WORDS, FEATURES, mask_zero=True), reader])
    model.build((None, None, features) if features else (None, None))
    fm.save_model(model, folder / "model.npz")
    pq.write_table(pa.table({"x": fm.Ragged(values, offsets).to_arrow()}), folder / "in.parquet")


def measure(
    rows: int, steps: int, units: int, spread: float = 0.6, features: int = 0
) -> dict[str, float]:
    """Seconds, seconds in kernels, and peak memory in bytes, of a new process."""
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), rows, steps, units, spread, features)
        found: dict[str, float] = measured("benchmarks.files", "--here", name)
        return found


def measure_here(folder: Path) -> dict[str, float]:
    """The same in this process, which should be new."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fastmask.backends.host import HOST
    from fastmask.commands import predict

    with pq.ParquetFile(folder / "in.parquet") as file:
        small = next(file.iter_batches(batch_size=2))
    pq.write_table(pa.Table.from_batches([small]), folder / "small.parquet")
    model, output = folder / "model.npz", folder / "out.parquet"
    predict.run(predict.Options(model, folder / "small.parquet", output, ("x",)))  # compiles
    clock = Clock()
    kind: Any = type(HOST)
    for name in ("call", "run"):
        setattr(kind, name, clock.around(getattr(kind, name)))
    start = time.perf_counter()
    rows = predict.run(predict.Options(model, folder / "in.parquet", output, ("x",)))
    seconds = time.perf_counter() - start
    return {"rows": rows, "seconds": seconds, "kernels": clock.seconds, "bytes": peak()}


class Clock:
    """Adds up the time spent in some functions."""

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
    for name, case in CASES.items():
        found = measure(options.rows, options.steps, options.units, *case)
        share = found["kernels"] / found["seconds"]
        memory = f"{found['bytes'] / 1e6:.0f} MB (wanted: at most {BYTES_WANTED / 1e6:.0f})"
        kernels = f"{share:.0%} of it in kernels (wanted: {SHARE_WANTED:.0%})"
        print(f"{name}: {found['rows']:,} rows in {found['seconds']:.2f} s, {kernels}, {memory}")


if __name__ == "__main__":
    main()
