"""The number of Python functions in a small call, where they take longer than the kernel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

L = fm.layers
SOURCES = str(Path(fm.__file__).parent)
MASK = fm.Mask([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1]])
IDS = np.array([[3, 1, 0, 0, 0], [1, 2, 3, 4, 5]])


def calls_in(function: Callable[[], Any]) -> int:
    """How many of the package's functions, without kernels, a warm call runs."""
    count = 0

    def profile(frame: Any, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(SOURCES)

    function()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def of_inputs(layer: Any, **options: Any) -> Callable[[], Any]:
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
    return lambda: layer(x, **options)


def look_up() -> Callable[[], Any]:
    layer = L.Embedding(9, 4, mask_zero=True)
    return lambda: layer(IDS)


def one_step() -> Callable[[], Any]:
    layer, x = L.LSTM(8), np.ones((2, 8), np.float32)
    state = layer.get_initial_state(2)
    return lambda: layer.step(x, state)


def function_of_arrays() -> Callable[[], Any]:
    draw = np.random.default_rng(0)
    x, *weights = (draw.normal(size=s) for s in ((2, 5, 8), (8, 32), (8, 32), (32,)))
    return lambda: fm.ops.lstm(x, *weights, mask=MASK)


# With some room, as Python versions count comprehensions differently.
MOST = {
    "LSTM with a mask": (lambda: of_inputs(L.LSTM(8), mask=MASK), 46),
    "LSTM with a new mask": (lambda: of_inputs(L.LSTM(8), mask=MASK.valid.tolist()), 64),
    "LSTM without a mask": (lambda: of_inputs(L.LSTM(8)), 40),
    "Bidirectional": (lambda: of_inputs(L.Bidirectional(L.LSTM(8)), mask=MASK), 100),
    "Dense": (lambda: of_inputs(L.Dense(4)), 12),
    "Embedding": (look_up, 30),
    "a step": (one_step, 40),
    "ops.lstm": (function_of_arrays, 46),
}


@pytest.mark.parametrize("name", MOST)
def test_a_small_call_takes_few_functions(name: str) -> None:
    make, most = MOST[name]
    assert calls_in(make()) <= most
