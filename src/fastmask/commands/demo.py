"""The demo: a classifier trained in Keras names the speakers of real utterances."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array, Ints
from ..backends.table import kernels
from ..backends.threads import get_num_threads
from ..loaders import load_model
from ..masks.mask import Mask
from . import naive as _naive

_DATA = Path(__file__).parents[1] / "data"
LEAST_ACCURACY = 0.96
MOST_DIFFERENCE = 1e-5
_ROUNDS = 16  # of which the first one warms up


class Result(NamedTuple):
    """What the demo found."""

    utterances: int
    shortest: int
    longest: int
    speakers: int
    skipped: float  # share of the padded steps
    accuracy: float
    naive_ms: float
    fastmask_ms: float
    difference: float  # largest, from Keras's probabilities

    @property
    def faults(self) -> list[str]:
        """What is not as it should be, one sentence each."""
        faults = []
        if not self.accuracy >= LEAST_ACCURACY:
            faults.append(f"the accuracy is {self.accuracy:.1%}, below {LEAST_ACCURACY:.0%}")
        if not self.difference < MOST_DIFFERENCE:
            faults.append(
                f"the outputs differ from Keras's by {self.difference:.1e}, "
                f"not less than {MOST_DIFFERENCE:.0e}"
            )
        return faults


def run(say: Callable[[str], None]) -> Result:
    """Run the demo.

    Args:
        say: takes a line for the user when something lasts.

    Returns:
        What it found.
    """
    model = load_model(_DATA / "japanese_vowels_lstm.npz")
    with np.load(_DATA / "japanese_vowels.npz") as file:
        values, lengths, labels = file["values"], file["lengths"], file["labels"]
    with np.load(_DATA / "japanese_vowels_keras.npz") as file:
        expected = file["probabilities"]
    x = _padded(values, lengths)
    with _telling(lambda: say("compiling kernels once, about 5 s ...")):
        probabilities = model(x)
    weights = model.get_weights()
    naive_ms, fastmask_ms = _medians_ms(lambda: _naive.classify(x, weights), lambda: model(x))
    return Result(
        utterances=len(lengths),
        shortest=int(lengths.min()),
        longest=int(lengths.max()),
        speakers=probabilities.shape[1],
        skipped=1.0 - Mask.from_lengths(lengths).fill,
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        naive_ms=naive_ms,
        fastmask_ms=fastmask_ms,
        difference=float(np.abs(probabilities - expected).max()),
    )


def report(result: Result) -> list[str]:
    """The lines that tell a person about the result."""
    r = result
    threads = get_num_threads()
    rows = [
        ("utterances", f"{r.utterances}"),
        ("padded steps skipped", f"{100 * r.skipped:.1f} %"),
        ("accuracy", f"{100 * r.accuracy:.1f} %"),
        ("naive padded loop in NumPy", f"{r.naive_ms:.1f} ms"),
        (f"fastmask on {threads} thread{'s' * (threads > 1)}", f"{r.fastmask_ms:.1f} ms"),
        ("largest difference from Keras", f"{r.difference:.1e}"),
    ]
    table = [f"  {name:<31}{value:>10}" for name, value in rows]
    return [
        f"Who said it? {r.speakers} speakers, {r.shortest} to {r.longest} frames an utterance.",
        "A masked LSTM, trained in Keras, answers for all of them as one padded batch;",
        "times are medians of warm runs, taken in turns.",
        "",
        *table,
        "",
        _conclusion(r),
    ]


def _conclusion(r: Result) -> str:
    return (
        f"fastmask names the speaker right {100 * r.accuracy:.1f} % of the time, "
        f"{r.naive_ms / r.fastmask_ms:.1f} times as fast as the padded loop in NumPy."
    )


def _telling(tell: Callable[[], None]) -> AbstractContextManager[None]:
    """Calls `tell` if the compiler runs meanwhile; kernels in plain NumPy need none."""
    if kernels().__name__.endswith(".reference"):
        return nullcontext()
    told: AbstractContextManager[None] = import_module("fastmask_kernels.cpu.compiling").telling(
        tell
    )
    return told


def _padded(values: Array, lengths: Ints) -> Array:
    """(N, T, F), the utterances that lie end to end in `values`, zeros after them."""
    valid = np.arange(lengths.max()) < lengths[:, None]
    x = np.zeros((*valid.shape, values.shape[1]), values.dtype)
    x[valid] = values
    return x


def _medians_ms(*calls: Callable[[], Any]) -> list[float]:
    """The median time of each call, in turns, so that a busy moment meets all of them."""
    times = np.empty((_ROUNDS, len(calls)))
    for round_times in times:
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            round_times[i] = time.perf_counter() - start
    return [float(ms) for ms in 1000 * np.median(times[1:], axis=0)]
