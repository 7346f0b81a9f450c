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
from ..models.summary import summarize
from . import naive as _naive

_DATA = Path(__file__).parents[1] / "data"
MODEL = "japanese_vowels_lstm.keras"
EXAMPLES = 8  # utterances that are drawn
LEAST_ACCURACY = 0.96
MOST_DIFFERENCE = 1e-5
_ROUNDS = 16  # of which the first one warms up


class Example(NamedTuple):
    """An utterance: its number of frames, who spoke it, and whom the model heard."""

    frames: int
    speaker: int
    heard: int


class Result(NamedTuple):
    """What the demo found."""

    utterances: int
    shortest: int
    longest: int
    speakers: int
    skipped: float  # share of the padded steps
    layers: list[str]  # of the loaded model, a table's lines
    examples: list[Example]
    accuracy: float
    naive_ms: float
    fastmask_ms: float
    difference: float  # largest, from Keras's probabilities

    @property
    def faults(self) -> list[str]:
        """The checks that failed, one sentence each."""
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
        say: shows a line to the user before something that takes long.

    Returns:
        What it found.
    """
    model = load_model(_DATA / MODEL)
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
        layers=str(summarize(model, model.layers)).splitlines()[1:],
        examples=_examples(lengths, labels, probabilities.argmax(axis=1)),
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        naive_ms=naive_ms,
        fastmask_ms=fastmask_ms,
        difference=float(np.abs(probabilities - expected).max()),
    )


def report(result: Result) -> list[str]:
    """The lines of a report for people."""
    r = result
    threads = get_num_threads()
    rows = [
        ("accuracy", f"{100 * r.accuracy:.1f} %"),
        ("naive padded loop in NumPy", f"{r.naive_ms:.1f} ms"),
        (f"fastmask on {threads} thread{'s' * (threads > 1)}", f"{r.fastmask_ms:.1f} ms"),
        ("largest difference from Keras", f"{r.difference:.1e}"),
    ]
    return [
        f"Who said it? {r.utterances} utterances of {r.speakers} speakers,",
        f"{r.shortest} to {r.longest} frames each, padded to one batch:",
        "",
        *(_drawn(example, r.longest) for example in r.examples),
        f"  ... {100 * r.skipped:.1f} % of all steps are padding, which fastmask does not compute.",
        "",
        f"The model was trained and saved by Keras: {MODEL}, loaded without Keras.",
        "",
        *(f"  {line}" for line in r.layers),
        "",
        *(f"  {name:<31}{value:>10}" for name, value in rows),
        "",
        _conclusion(r),
    ]


def _drawn(example: Example, longest: int) -> str:
    """The frames of an utterance, its padding as dots, and whether the answer is right."""
    bar = "#" * example.frames + "." * (longest - example.frames)
    right = "right" if example.heard == example.speaker else f"wrong: speaker {example.speaker}"
    return f"  {bar}  speaker {example.heard}, {right}"


def _examples(lengths: Ints, labels: Ints, heard: Ints) -> list[Example]:
    """Utterances from the shortest to the longest, speakers counted from 1."""
    order = np.argsort(lengths, kind="stable")
    rows = order[np.linspace(0, len(order) - 1, EXAMPLES).astype(int)]
    return [Example(int(lengths[i]), int(labels[i]) + 1, int(heard[i]) + 1) for i in rows]


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
