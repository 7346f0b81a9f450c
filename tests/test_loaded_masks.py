"""What loaded models say of masks that they drop, as they did when they were trained."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .keras_files import MODELS

ROWS = [[3, 1], [2]]


def built() -> Any:
    words = L.Embedding(9, 4, mask_zero=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fm.Sequential([fm.Input((None,), "int32"), words, L.GlobalMaxPooling1D(name="most")])


def loaded(folder: Path) -> Any:
    fm.save_model(built(), folder / "m.npz")
    return fm.load_model(folder / "m.npz")


def test_loading_and_ragged_rows_lose_nothing_and_do_not_warn(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fm.load_model(MODELS / "conv_lstm.keras")
        model = loaded(tmp_path)
        model(fm.ragged(ROWS))
        assert model.summary()[-1].mask == "dropped"
    with pytest.warns(UserWarning, match="Layer 'most' .* will therefore destroy the mask"):
        model(np.array([[3, 1], [2, 0]]))


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_no_advice_that_would_change_what_was_trained(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    trace = fm.trace_masks(model, [[3, 1], [2, 0]])
    assert (trace[-1].did, trace[-1].fix) == ("dropped", "")
    assert "most dropped the mask, as Keras does: padding counts from here on" in str(trace)
    trace = fm.trace_masks(built(), [[3, 1], [2, 0]])
    assert "GlobalAveragePooling1D()(x)  # in place of most" in trace[-1].fix
    assert "most dropped the mask; use:\n" in str(trace)


def test_no_advice_for_rows_without_padding() -> None:
    trace = fm.trace_masks(built(), fm.ragged(ROWS))
    assert (trace[-1].did, trace[-1].fix) == ("dropped", "")
    assert "a Ragged has no padding" in str(trace)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_layers_that_pad_rows_get_advice() -> None:
    class Own(L.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    trace = fm.trace_masks(
        fm.Sequential([L.Embedding(9, 4, mask_zero=True), Own()]), fm.ragged(ROWS)
    )
    assert trace[-1].fix.startswith("self.supports_masking = True")
