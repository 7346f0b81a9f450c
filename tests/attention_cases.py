"""Calls of attention layers that are compared with Keras, with masks of all kinds.

Each case has its own seeded inputs, weights and masks; Keras's answers are in
`data/attention_golden.npz`, written by `data/make_attention_golden.py`.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import golden_archive

Array = npt.NDArray[Any]
PATH = Path(__file__).parent / "data" / "attention_golden.npz"
B, T, S, F = 3, 5, 4, 6
MASKS: dict[str, tuple[Array | None, Array | None]] = {
    "none": (None, None),
    "both": (np.arange(T) < np.array([[5], [3], [0]]), np.arange(S) < np.array([[2], [0], [4]])),
    "query": (np.arange(T) >= np.array([[1], [0], [5]]), None),
    "value": (None, np.array([[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)),
}


class Case(NamedTuple):
    """A layer, the shapes of query, value and maybe key, and options of the call."""

    make: Callable[[Any], Any]
    shapes: tuple[tuple[int, ...], ...] = ((B, T, F), (B, S, F))
    options: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it
    masks: tuple[str, ...] = tuple(MASKS)


THREE = ((B, T, F), (B, S, F), (B, S, 7))
SEEN = np.random.default_rng(0).random((B, T, S)) < 0.6
SCORES, CAUSAL = {"return_attention_scores": True}, {"use_causal_mask": True}
CASES: dict[str, Case] = {
    "heads": Case(lambda L: L.MultiHeadAttention(2, 4)),
    "key": Case(lambda L: L.MultiHeadAttention(3, 4, 5, use_bias=False), THREE),
    "scores": Case(lambda L: L.MultiHeadAttention(2, 4), THREE, SCORES),
    "dropout": Case(lambda L: L.MultiHeadAttention(2, 4, dropout=0.5)),
    "causal": Case(lambda L: L.MultiHeadAttention(2, 4), options=CAUSAL),
    "causal_scores": Case(lambda L: L.MultiHeadAttention(2, 4), options=CAUSAL | SCORES),
    "seen": Case(lambda L: L.MultiHeadAttention(2, 4), options={"attention_mask": SEEN}),
    "seen_alike": Case(
        lambda L: L.MultiHeadAttention(2, 4, output_shape=(2, 3)),
        options={"attention_mask": SEEN[0], **CAUSAL},
    ),
    "seen_by_heads": Case(
        lambda L: L.MultiHeadAttention(2, 4),
        options={"attention_mask": np.stack([SEEN, ~SEEN], axis=1)},
        masks=("none",),
    ),
    "window": Case(lambda L: L.MultiHeadAttention(2, 4, sliding_window=2, use_gate=True)),
    "window_causal": Case(
        lambda L: L.MultiHeadAttention(2, 4, output_shape=3, sliding_window=2), options=CAUSAL
    ),
    "all_axes": Case(
        lambda L: L.MultiHeadAttention(2, 4), ((B, 2, T, F), (B, 3, S, F)), SCORES, ("none",)
    ),
    "one_axis": Case(
        lambda L: L.MultiHeadAttention(2, 4, attention_axes=2),
        ((B, 2, T, F), (B, 2, S, F)),
        masks=("none",),
    ),
    "dot_causal": Case(lambda L: L.Attention(), options=CAUSAL | SCORES),
    "additive_causal": Case(lambda L: L.AdditiveAttention(), options=CAUSAL | SCORES),
}


def all_cases() -> Iterator[tuple[str, str]]:
    """The names of cases and their masks."""
    return itertools.chain.from_iterable(
        itertools.product([name], case.masks) for name, case in CASES.items()
    )


def inputs(name: str) -> list[Array]:
    """The seeded inputs of a case."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return [random.normal(size=shape).astype(np.float32) for shape in CASES[name].shapes]


def masks_for(name: str, masks: str) -> list[Array | None]:
    """The masks of query, value and key; the key's is the value's mask reversed."""
    query, value = MASKS[masks]
    return [query, value, None if value is None else value[:, ::-1]][: len(CASES[name].shapes)]


def weights(name: str, like: list[Array]) -> list[Array]:
    """Seeded weights."""
    random = np.random.default_rng(zlib.crc32(name.encode()) + 1)
    return [0.5 * random.standard_normal(w.shape, np.float32) for w in like]


_stored = cache(golden_archive.read)


def expected(name: str, masks: str) -> tuple[list[Array], Array | None]:
    """Keras's outputs, and the mask of the first one."""
    stored = _stored(PATH)
    key = f"{name}|{masks}|"
    mask = stored.get(f"{key}mask")
    outputs = [array for part, array in stored.items() if part.startswith(f"{key}out")]
    return outputs, None if mask is None else mask != 0
