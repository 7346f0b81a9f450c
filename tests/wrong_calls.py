"""Calls that fail: the exception, and what its message must say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

X = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
H = np.zeros((2, 4), np.float32)

Call = Callable[[], Any]
# id, call, exception, what its message must contain
Wrong = tuple[str, Call, type[Exception], tuple[str, ...]]


def built(**options: Any) -> fm.Sequential:
    model = fm.Sequential([L.LSTM(4, name="reader", **options)], name="small")
    model.build((None, None, 3))
    return model


class Mine(L.Layer):
    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs


def each_row(table: list[Wrong]) -> pytest.MarkDecorator:
    """One test for each row."""
    return pytest.mark.parametrize(
        ("call", "kind", "parts"), [row[1:] for row in table], ids=[row[0] for row in table]
    )


def assert_says(call: Call, kind: type[Exception], parts: tuple[str, ...]) -> None:
    """Check the exception's class, and that its message is one line with all parts."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    missing = [part for part in parts if part not in str(caught.value)]
    assert not missing, str(caught.value)
    assert "\n" not in str(caught.value)
