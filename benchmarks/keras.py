"""Keras's training step and prediction beside those of the same model after fastmask.keras.convert.

    KERAS_BACKEND=torch python -m benchmarks.keras [--seconds 10]

prints a table in Markdown: milliseconds of train_on_batch and predict_on_batch, in turns in one
process, for batches whose rows have random lengths.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

import fastmask.keras

from .timing import side_by_side

WORDS = 1000


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


SHAPES = (
    Shape(
        "Bidirectional(LSTM)", lambda n: [layers.Bidirectional(layers.LSTM(n))], 32, 150, 64, 0.5
    ),
    Shape("two GRU", stacked, 32, 100, 64, 0.5),
    Shape("LSTM", lambda n: [layers.LSTM(n)], 64, 200, 128, 0.25),
)


def batch(shape: Shape) -> tuple[Any, Any]:
    """Numbers of words, padded after their end to lengths that are `fill` on average."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, int(2 * shape.fill * shape.steps), (shape.rows, 1))
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


def row(shape: Shape, seconds: float) -> str:
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
        cells.append(f"{keras_ms:.1f} | {our_ms:.1f} | {keras_ms / our_ms:.1f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each pair")
    options = parser.parse_args()
    print(f"Keras {keras.__version__} on {keras.config.backend()}\n")
    print("| model | train: Keras, ms | fastmask, ms | times | predict: Keras | fastmask | times |")
    print("|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        print(row(shape, options.seconds), flush=True)


if __name__ == "__main__":
    main()
