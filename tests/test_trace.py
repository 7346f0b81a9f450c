"""`trace_masks`: what each layer did with the mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers

IDS = np.array([[7, 1, 3, 0], [2, 0, 0, 0]])
X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
MASK = IDS != 0


class Dropper(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs


class Half(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs[:, :2]


class Shift(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002
        return None if mask is None else np.roll(mask, 1, axis=1)


def test_every_word() -> None:
    model = fm.Sequential(
        [
            layers.Embedding(10, 3, mask_zero=True, name="words"),
            layers.Dense(3),
            layers.LSTM(3, return_sequences=True),
            layers.LSTM(3, return_sequences=True, go_backwards=True),
            Shift(),
            layers.Masking(),
            layers.LSTM(3),
            layers.Dense(2),
        ]
    )
    rows = fm.trace_masks(model, IDS)
    assert [row.did for row in rows] == [
        *("made", "kept", "used, kept", "used, changed", "changed", "made", "used", "-")
    ]
    assert [row.valid for row in rows] == [0.5] * 5 + [pytest.approx(rows[5].valid)] * 2 + [None]
    assert rows[0].mask_in == [None]
    (made,) = rows[0].mask_out
    assert made is not None
    np.testing.assert_array_equal(made.valid, MASK)
    assert rows[1].mask_out[0] is rows[1].mask_in[0]
    text = str(rows)
    assert text.splitlines()[0].split("  ")[0] == "layer"
    assert "words (Embedding)" in text
    assert "50.0%" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_dropped_says_what_to_add() -> None:
    x = fm.Masked(X, MASK)
    (row,) = fm.trace_masks(Dropper(), x)
    assert (row.did, row.mask_out, row.valid) == ("dropped", [None], 0.5)
    assert row.fix == "self.supports_masking = True  # in Dropper.__init__"
    (row,) = fm.trace_masks(Half(), x)
    assert row.fix.startswith("def compute_mask(self, inputs, mask=None)")
    (row,) = fm.trace_masks(layers.Embedding(10, 3), fm.Masked(IDS, MASK))
    assert "mask_zero=True" in row.fix
    rows = fm.trace_masks(fm.Sequential([Dropper(name="d"), layers.LSTM(2)]), x)
    assert [row.did for row in rows] == ["dropped", "-"]
    assert "d dropped the mask; add:\n    self.supports_masking" in repr(rows)
    (row,) = fm.trace_masks(layers.Lambda(np.negative), x)
    assert (row.did, row.fix[:12]) == ("dropped", "Lambda(..., ")
    for layer in (layers.Flatten(), layers.Reshape((2, 6)), layers.Reshape((4, 3))):
        (row,) = fm.trace_masks(layer, x)
        assert row.did == "dropped"
        assert "fm." in row.fix


def test_explicit_mask() -> None:
    (row,) = fm.trace_masks(layers.Dense(2), X, mask=MASK)
    assert row.did == "kept"
    rows = fm.trace_masks(fm.Sequential([layers.Dense(2)]), X, mask=MASK)
    assert rows[0].did == "kept"


def test_graph_with_models_inside() -> None:
    x, ids = fm.Input((None, 3)), fm.Input((None,), "int32")
    mask = fm.get_mask(layers.Embedding(10, 2, mask_zero=True, name="words")(ids))
    inner_input = fm.Input((None, 3))
    y = layers.LSTM(3, return_sequences=True, name="lstm")(inner_input)
    inner = fm.Model(inner_input, y, name="inner")
    stack = fm.Sequential([inner, layers.Dense(2, name="dense")], name="stack")
    model = fm.Model([x, ids], stack(x, mask=mask))
    rows = fm.trace_masks(model, [X, IDS])
    assert [(row.layer, row.did) for row in rows] == [
        ("words", "made"),
        ("stack/inner/lstm", "used, kept"),
        ("stack/dense", "kept"),
    ]
    assert [row.mask for row in model.summary()] == ["made", "used, kept", "kept"]


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_several_inputs() -> None:
    x = fm.Input((None, 3))
    model = fm.Model(x, layers.Add(name="sum")([layers.Masking()(x), x]))
    (_, row) = fm.trace_masks(model, X)
    assert len(row.mask_in) == 2
    assert row.mask_in[1] is None
    assert (row.layer, row.did) == ("sum", "dropped")


def test_refuses() -> None:
    with pytest.raises(TypeError, match="model must be a fastmask model or layer, not int"):
        fm.trace_masks(3, X)  # type: ignore[arg-type]
