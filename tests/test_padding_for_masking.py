"""Rows that are padded before a `Masking` layer, which reads the padding and no other mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import fastmask as fm


def in_a_row(value: float) -> fm.Model:  # not built before it is called
    return fm.Sequential([fm.layers.Masking(value), fm.layers.GRU(4)])


def nested(value: float) -> fm.Model:
    x = fm.Input((None, 3))
    return fm.Model(x, fm.layers.GRU(4)(fm.Sequential([fm.layers.Masking(value)])(x)))


def of_fixed_length(value: float) -> fm.Model:
    x = fm.Input((7, 3))
    return fm.Model(x, fm.layers.GRU(4)(fm.layers.Masking(value)(x)))


@pytest.mark.parametrize("value", [-1.0, np.nan])
@pytest.mark.parametrize("made", [in_a_row, nested, of_fixed_length])
def test_padding_is_masked(made: Callable[[float], fm.Model], value: float) -> None:
    model, random = made(value), np.random.default_rng(8)
    rows = [random.standard_normal((steps, 3), np.float32) for steps in (2, 5, 3, 0)]
    found = model.predict(rows, batch_size=2, verbose=0)
    expected = model.predict(fm.ragged(rows), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not found[3].any()
    table = fm.Predictor(model, "x")({"x": fm.ragged(rows).to_list()})
    np.testing.assert_allclose(table["prediction"], expected, atol=1e-6)


def test_a_value_that_the_rows_cannot_hold() -> None:
    with pytest.raises(ValueError, match=r"x must hold sequences of numbers: .*-1"):
        in_a_row(-1.0).predict([np.ones((2, 3), np.uint8), np.ones((5, 3), np.uint8)])
