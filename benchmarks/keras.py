"""Keras's training step and prediction beside those of the same model after fastmask.keras.convert.

    KERAS_BACKEND=torch python -m benchmarks.keras [--seconds 10] [--more] [--load] [--write]

prints a table, and with --write puts it into docs/keras.md, and on torch a sentence about it into
the README: milliseconds of train_on_batch and predict_on_batch, in turns in one process, for
batches whose rows have random lengths; then what a tiny layer adds to a prediction. With --more
there are twelve other models, of at least 2000 steps, on none of which fastmask may be slower. With
--load two other processes keep two processors busy meanwhile: the threads of fastmask and of the
backend then have to share the rest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

import fastmask as fm
import fastmask.keras

from .blocks import DOCS, show, write_block
from .machine import this_processor
from .markdown import table
from .timing import side_by_side

WORDS = 1000
HEAD = (
    *("model", "train: Keras, ms", "fastmask, ms", "times as fast"),
    *("predict: Keras, ms", "fastmask, ms", "times as fast"),
)


class Shape(NamedTuple):
    """A model and its batches: rows, steps, units, and the share of steps that are valid."""

    name: str
    layers: Callable[[int], list[Any]]
    rows: int
    steps: int
    units: int
    fill: float


def stacked(units: int) -> list[Any]:
    return [layers.GRU(units, return_sequences=True), layers.GRU(units)]


def one(kind: str, **options: Any) -> Callable[[int], list[Any]]:
    return lambda units: [getattr(layers, kind)(units, **options)]


def both_ways(kind: str) -> Callable[[int], list[Any]]:
    return lambda units: [layers.Bidirectional(getattr(layers, kind)(units))]


def pooled(units: int) -> list[Any]:
    return [layers.LSTM(units, return_sequences=True), layers.GlobalAveragePooling1D()]


SHAPES = (
    Shape("Bidirectional(LSTM)", both_ways("LSTM"), 32, 150, 64, 0.5),
    Shape("two GRU", stacked, 32, 100, 64, 0.5),
    Shape("LSTM", one("LSTM"), 64, 200, 128, 0.25),
)
MORE = (
    Shape("LSTM", one("LSTM"), 8, 250, 16, 1.0),
    Shape("LSTM", one("LSTM"), 16, 125, 256, 1.0),
    Shape("LSTM", one("LSTM"), 20, 100, 512, 1.0),
    Shape("LSTM", one("LSTM"), 2, 1000, 8, 1.0),
    Shape("LSTM, pooled", pooled, 200, 20, 64, 0.75),
    Shape("GRU", one("GRU"), 100, 20, 32, 1.0),
    Shape("GRU", one("GRU"), 1, 2000, 64, 1.0),
    Shape("GRU, reset before", one("GRU", reset_after=False), 64, 64, 128, 0.5),
    Shape("Bidirectional(GRU)", both_ways("GRU"), 80, 50, 32, 0.5),
    Shape("SimpleRNN", one("SimpleRNN"), 32, 150, 64, 0.5),
    Shape("SimpleRNN", one("SimpleRNN"), 500, 4, 128, 1.0),
    Shape("Bidirectional(SimpleRNN)", both_ways("SimpleRNN"), 64, 64, 32, 0.5),
)


def batch(shape: Shape) -> tuple[Any, Any]:
    """Word ids, padded at the end; on average a row has the share `fill` of valid steps."""
    rng = np.random.default_rng(0)
    middle, room = shape.fill * shape.steps, min(shape.fill, 1 - shape.fill) * shape.steps
    lengths = rng.integers(max(1, int(middle - room)), int(middle + room) + 1, (shape.rows, 1))
    ids = rng.integers(1, WORDS, (shape.rows, shape.steps)).astype("int32")
    ids[np.arange(shape.steps) >= lengths] = 0
    return ids, rng.integers(0, 2, (shape.rows, 1)).astype("float32")


def model(shape: Shape, convert: bool) -> Any:
    keras.utils.set_random_seed(1)
    made = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(WORDS, 64, mask_zero=True),
            *shape.layers(shape.units),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    made.compile("sgd", "binary_crossentropy")
    if convert:
        names, reasons = fastmask.keras.convert(made)
        assert names
        assert not reasons
    return made


def row(shape: Shape, seconds: float) -> list[str]:
    x, y = batch(shape)
    plain, converted = (model(shape, convert) for convert in (False, True))
    cells = [f"{shape.name}, {shape.rows} x {shape.steps}, {shape.units} units, {shape.fill:.0%}"]
    for pair in (
        {name: lambda m=m: m.train_on_batch(x, y) for name, m in (("k", plain), ("f", converted))},
        {name: lambda m=m: m.predict_on_batch(x) for name, m in (("k", plain), ("f", converted))},
    ):
        for call in pair.values():  # traces and compiles
            call()
        times = side_by_side(pair, seconds)
        keras_ms, our_ms = (times[name].median * 1e3 for name in ("k", "f"))
        cells += [f"{keras_ms:.1f}", f"{our_ms:.1f}", f"{keras_ms / our_ms:.1f}"]
    return cells


def no_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:  # noqa: ARG001 - Keras passes these
    """A replacement for a layer's loop, which returns last output, outputs and states at once."""
    return initial_state[0], initial_state[0][:, None], initial_state


def tiny(seconds: float) -> str:
    """What an LSTM of 8 units over 4 steps adds to a prediction, its kernel included."""
    x = np.random.default_rng(0).standard_normal((1, 4, 8)).astype("float32")
    with_loop, without = (keras.Sequential([keras.Input((4, 8)), layers.LSTM(8)]) for _ in range(2))
    fastmask.keras.convert(with_loop)
    without.layers[0].inner_loop = no_loop
    contenders = {
        "with": lambda: with_loop.predict_on_batch(x),
        "without": lambda: without.predict_on_batch(x),
    }
    for call in contenders.values():
        call()
    found = {name: time.q25 * 1e6 for name, time in side_by_side(contenders, seconds).items()}
    return f"A tiny LSTM adds {found['with'] - found['without']:.0f} us to a prediction."


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run `count` other processes that compute all the time."""
    command = [sys.executable, "-c", "while True: pass"]
    beside = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()


def claim(rows: list[list[str]], made: str, machine: str) -> str:
    """What the README says of a table, whose last column of each half is how many times as fast."""
    train, predict = (sorted(int(float(cells[i])) for cells in rows) for i in (3, 6))
    return (
        f"In {made}, models with masks train {train[0]} to {train[-1]} times as fast and predict "
        f"{predict[0]} to {predict[-1]} times as fast after one line, "
        f"`fastmask.keras.convert(model)`. Measured on {machine}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each pair")
    parser.add_argument("--more", action="store_true", help="twelve other models")
    parser.add_argument("--load", action="store_true", help="beside two busy processes")
    parser.add_argument("--write", action="store_true", help="into docs/keras.md and the README")
    options = parser.parse_args()
    backend = keras.config.backend()
    with busy_processes(2 if options.load else 0):
        rows = [row(shape, options.seconds) for shape in (MORE if options.more else SHAPES)]
        overhead = tiny(options.seconds)
    made = f"Keras {keras.__version__} on {backend}"
    machine = f"{this_processor()}, {fm.get_num_threads()} threads"
    name = "-".join([backend, *["more"] * options.more, *["load"] * options.load])
    show(f"{table(HEAD, rows)}\n\n{made}, {machine}. {overhead}\n", "keras.md", name, options.write)
    if options.write and name == "torch":
        write_block(DOCS.parent / "README.md", "keras", claim(rows, made, machine))


if __name__ == "__main__":
    main()
