"""Arguments that a call does not have, and what the error says to give instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mask", r": give fastmask.Masked\(x, mask\), or the rows themselves"),
        ("attention_mask", r": give fastmask.Masked\(x, mask\), or the rows themselves"),
        ("lengths", r": give the rows .* fastmask.Mask.from_lengths\(lengths, steps\)"),
        ("batchsize", r" \(did you mean 'batch_size'\?\)"),
        ("callbacks", ""),
    ],
)
def test_predict(name: str, hint: str) -> None:
    model = fm.Sequential([fm.layers.Dense(2)])
    message = f"^Model.predict\\(\\) got an unexpected keyword argument '{name}'{hint}"
    with pytest.raises(TypeError, match=message + ("" if hint else "$")):
        model.predict(np.ones((2, 3, 4)), **{name: np.ones((2, 3))})


@pytest.mark.parametrize("cell", [fm.cells.gru, fm.layers.LSTMCell])
def test_a_cell_without_units(cell: Any) -> None:
    with pytest.raises(TypeError, match=r"Layer, not .*: call it with a number of units$"):
        fm.layers.RNN(cell)
    with pytest.raises(TypeError, match=r"Layer, not 'gru'$"):
        fm.layers.RNN("gru")  # type: ignore[arg-type]  # on purpose
