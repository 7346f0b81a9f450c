"""Rows of ids, and small models that read them, for tests of predictions as a column."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmask as fm
from fastmask import layers as L

ROWS = [[3, 4, 5], [], [7], [1, 2, 3, 4, 5, 6], [9, 9]]
WHO = ["Ada", "Bob", "Cyd", "Dan", "Eve"]


def built(*layers: Any, shape: tuple[int | None, ...] = (None, None)) -> Any:
    """A model with the same seeded weights each time."""
    model = fm.Sequential(layers)
    model.build(shape)
    random = np.random.default_rng(3)
    model.set_weights([random.normal(size=weight.shape) for weight in model.weights])
    return model


def reader() -> Any:
    return built(L.Embedding(20, 3, mask_zero=True), L.SimpleRNN(2))


def tagger() -> Any:
    return built(L.Embedding(20, 3, mask_zero=True), L.SimpleRNN(2, return_sequences=True))


def padded() -> np.ndarray[Any, Any]:
    return fm.pad(ROWS).data


def tagged_rows(model: Any) -> list[Any]:
    """A model's output for each row, only the valid steps."""
    whole = model(padded()).data
    return [whole[b, : len(row)].tolist() for b, row in enumerate(ROWS)]
