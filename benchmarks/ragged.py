"""A model on padded batches with a mask, and on the same rows without padding.

    python -m benchmarks.ragged [--threads 2] [--seconds 3] [--write]

prints a table, and with --write puts it into docs/ragged.md: how much faster a call is on a
`Ragged` than on a `Masked`, and the peak memory of each beyond weights and inputs, measured in a
process of its own. The model is a typical tagger: an embedding, a recurrent layer, dense layers and
a normalization. Outputs at valid steps are compared.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm
from benchmarks.blocks import show
from benchmarks.machine import this_processor
from benchmarks.markdown import table
from benchmarks.memory import peak, restarted_peak
from benchmarks.timing import side_by_side

VOCABULARY, BATCH, TIME = 5000, 64, 400
FILLS = (0.1, 0.25, 0.5, 1.0)
TOLERANCE = 1e-6
KINDS = "masked", "ragged"
HEAD = (
    *("valid", "masked, ms", "ragged, ms", "times as fast"),
    *("masked, MB", "ragged, MB", "times less memory", "largest difference"),
)


def tagger() -> Any:
    """The model, with weights drawn from a seed."""
    layers = fm.layers
    model = fm.Sequential(
        [
            layers.Embedding(VOCABULARY, 64, mask_zero=True),
            layers.LSTM(64, return_sequences=True),
            layers.Dense(256, activation="relu"),
            layers.LayerNormalization(),
            layers.Dense(16),
        ]
    )
    model.build((None, None))
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, w.shape[-1] ** -0.5, w.shape) for w in model.get_weights()])
    return model


def batch_of(kind: str, fill: float, batch: int = BATCH, time: int = TIME) -> Any:
    """Rows of ids, one of them as long as the padded batch."""
    random = np.random.default_rng(1)
    most = min(time, round(2 * fill * time))
    lengths = random.integers(max(1, round(2 * fill * time) - most), most + 1, batch)
    lengths[0] = time
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ragged = fm.Ragged(random.integers(1, VOCABULARY, offsets[-1]), offsets)
    return ragged if kind == "ragged" else ragged.to_masked()


def checked_error(model: Any, fill: float, *sizes: int) -> float:
    """The largest difference of outputs at valid steps.

    Raises:
        AssertionError: it is too large.
    """
    one = model(batch_of("ragged", fill, *sizes))
    other = model(batch_of("masked", fill, *sizes)).to_ragged()
    assert one.offsets.tolist() == other.offsets.tolist()
    error = float(np.abs(one.values - other.values).max())
    assert error <= TOLERANCE, error
    return error


def memory(kind: str, fill: float) -> int:
    """Bytes that a call in a process of its own adds to its peak."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ragged", "--measure", kind, str(fill)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    return int(done.stdout)


def measure_here(kind: str, fill: float) -> int:
    """The same for this process, which should be new."""
    fm.set_num_threads(1)
    model, x = tagger(), batch_of(kind, fill)
    model(batch_of(kind, fill, 2, 5))
    gc.collect()
    before = restarted_peak()
    outputs = model(x)
    assert len(outputs) == len(x)
    return peak() - before


def rows(
    threads: int, seconds: float, sizes: tuple[int, ...] = (), fills: tuple[float, ...] = FILLS
) -> list[list[str]]:
    """A row for each fill; memory is left out where sizes are given."""
    fm.set_num_threads(threads)
    model = tagger()
    table = []
    for fill in fills:
        error = checked_error(model, fill, *sizes)
        batches = {kind: batch_of(kind, fill, *sizes) for kind in KINDS}
        calls = {kind: lambda x=x: model(x) for kind, x in batches.items()}
        times = {kind: one.best * 1e3 for kind, one in side_by_side(calls, seconds).items()}
        used = [] if sizes else [memory(kind, fill) / 1e6 for kind in KINDS]
        table.append(
            [
                f"{fill:.0%}",
                *(f"{times[kind]:.1f}" for kind in KINDS),
                f"{times['masked'] / times['ragged']:.2f}",
                *(f"{megabytes:.1f}" for megabytes in used),
                *([f"{used[0] / used[1]:.1f}"] if used else []),
                f"{error:.0e}",
            ]
        )
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="into docs/ragged.md")
    arguments = parser.parse_args()
    if arguments.measure:
        kind, fill = arguments.measure
        print(measure_here(kind, float(fill)))
        return
    text = (
        f"{table(HEAD, rows(arguments.threads, arguments.seconds))}\n\n{this_processor()}, "
        f"{arguments.threads} threads, batches of {BATCH} x {TIME}.\n"
    )
    show(text, "ragged.md", "ragged", arguments.write)


if __name__ == "__main__":
    main()
