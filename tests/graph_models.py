"""A model with two inputs and two outputs, its inputs, and comparisons of model outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmask as fm
from fastmask.layers import LSTM, Dense, Embedding

IDS = np.array([[7, 1, 3, 0, 0], [2, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
MORE = np.array([[1, 0, 2], [0, 0, 0], [5, 5, 5]])


def data(y: Any) -> Any:
    return y.data if isinstance(y, fm.Masked) else y


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, fm.Masked):
        np.testing.assert_array_equal(one.mask.valid, other.mask.valid)
    np.testing.assert_array_equal(data(one), data(other))


def two_by_two() -> fm.Model:
    title, body = fm.Input((None,), "int32", name="title"), fm.Input((None,), "int32", name="body")
    embedding = Embedding(10, 4, mask_zero=True, name="words")
    y, h, c = LSTM(4, return_sequences=True, return_state=True, name="reader")(embedding(body))
    first = LSTM(4, name="start")(embedding(title), initial_state=[h, c])
    inner = fm.Sequential([Dense(4), LSTM(3, return_sequences=True)], name="inner")
    return fm.Model([title, body], [first, inner(y)], name="two")
