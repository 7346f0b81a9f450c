"""Every layer against Keras: its outputs, its masks, and warnings about masks that it drops.

If fastmask differs from Keras on purpose, the test says so: `GlobalAveragePooling1D` gives 0, not
NaN, for a row without a valid step, and a merge layer that drops a mask warns.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastmask as fm

from . import golden, layer_zoo, text_cases
from .built_layers import built, called_on, quietly

POOLED = {"average_pooling", "average_pooling_keepdims"}
USED_UP = POOLED | {
    "lstm",
    "gru",
    "gru_before",
    "simple_rnn",
    "rnn",
    "rnn_stack_backwards",
    "bidirectional",
}


LAYERS = sorted(set(fm.layers.__all__) - {"Layer"})


# Masked steps count in these layers in Keras, not here: see test_norms_over_time.py.
OVER_TIME = (
    "layer_norm_axes",
    "group_norm",
    "group_norm_instance",
    "group_norm_time",
    "unit_norm_axes",
)


def compared(name: str) -> tuple[str, ...]:
    return layer_zoo.masks_of(name) if name not in OVER_TIME else ("none",)


@pytest.mark.parametrize("name", layer_zoo.CASES)
def test_equals_keras(name: str) -> None:
    for masks in compared(name):
        compare(name, masks)


def test_the_readme_says_how_much_is_compared() -> None:
    readme = " ".join((Path(__file__).parents[1] / "README.md").read_text("utf-8").split())
    calls = len(golden.cases(lambda case: case.canonical))
    pairs = sum(len(compared(name)) for name in layer_zoo.CASES)
    assert f"within 1e-5 in float32, tested against {calls} recurrent calls" in readme
    assert f"{pairs} pairs of layer and mask" in readme


def compare(name: str, masks: str) -> None:
    keras = layer_zoo.expected(name, masks)
    layer = built(name)
    y = quietly(layer, called_on(name, masks), training=layer_zoo.CASES[name].training)
    data = y.data if isinstance(y, fm.Masked) else y
    assert data.dtype == np.float32
    output = np.nan_to_num(keras.output) if name in POOLED else keras.output
    np.testing.assert_allclose(data, output, rtol=0, atol=1e-5, err_msg=masks)
    if keras.mask is None:
        assert isinstance(y, np.ndarray), masks
    else:
        np.testing.assert_array_equal(fm.get_mask(y).valid, keras.mask, err_msg=masks)
    for ours, theirs in zip(layer.get_weights(), keras.weights or layer.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5, err_msg=masks)


@pytest.mark.optional
def test_keras_still_answers_so() -> None:
    if not all(map(importlib.util.find_spec, ("keras", "torch"))):
        pytest.skip("needs the extras keras and torch")
    if tuple(map(int, importlib.metadata.version("keras").split(".")[:2])) >= (3, 16):
        pytest.skip("the stored masks are those of Keras 3.15")
    script = Path(__file__).parent / "data" / "make_layer_golden.py"
    # In a process of its own, because Keras chooses its backend once, at import.
    check = subprocess.run(
        [sys.executable, str(script), "--check"],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize(
    ("name", "masks"), [one for one in layer_zoo.ALL if one[1] in ("holed", "left+none")]
)
def test_a_dropped_mask_warns_by_name(name: str, masks: str) -> None:
    case = layer_zoo.CASES[name]
    layer, inputs = built(name), called_on(name, masks)
    drops = layer_zoo.expected(name, masks).mask is None and name not in USED_UP
    drops = drops or name == "masking"  # it replaces the mask, which masks more
    for again in (False, True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            layer(inputs, training=case.training)
        sentence = f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with"
        assert [str(w.message).startswith(sentence) for w in caught] == [True] * (
            drops and not again
        )


@pytest.mark.parametrize("name", layer_zoo.CASES)
def test_float64(name: str) -> None:
    layer = layer_zoo.CASES[name].make(fm.layers)
    layer = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
    inputs = [x.astype(np.float64) for x in layer_zoo.inputs(name)]
    y = layer(inputs if len(inputs) > 1 else inputs[0])
    y = y.data if isinstance(y, fm.Masked) else y
    inner = getattr(layer, "layer", layer)  # which computes in its own dtype
    if inner is layer or name == "time_distributed_flatten":
        assert y.dtype == np.dtype(inner.dtype)


@pytest.mark.parametrize("name", layer_zoo.CASES)
def test_shape_is_told_and_the_layer_can_be_made_again(name: str) -> None:
    layer = built(name)
    inputs = called_on(name, "none")
    shapes = [x.shape for x in inputs] if isinstance(inputs, list) else inputs.shape
    y = quietly(layer, inputs)
    assert tuple(layer.compute_output_shape(shapes)) == y.shape
    again = type(layer).from_config(layer.get_config())
    again.build(shapes)
    again.set_weights(layer.get_weights())
    same = quietly(again, inputs)
    np.testing.assert_array_equal(*(getattr(one, "data", one) for one in (same, y)))


@pytest.mark.parametrize("name", [n for n, c in layer_zoo.CASES.items() if len(c.shapes) == 1])
def test_saves(name: str, tmp_path: Path) -> None:
    model = fm.Sequential([built(name)])
    if name.startswith("lambda"):
        with pytest.raises(ValueError, match="cannot be saved"):
            fm.save_model(model, tmp_path / "m.npz")
        return
    fm.save_model(model, tmp_path / "m.npz")
    again = fm.load_model(tmp_path / "m.npz")
    x = called_on(name, "right")
    ours, theirs = (quietly(one, x) for one in (model, again))
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    if isinstance(ours, fm.Masked):
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        ours, theirs = ours.data, theirs.data
    np.testing.assert_array_equal(ours, theirs)


def test_every_layer_is_compared() -> None:
    inside = {"LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"}  # of RNN
    compared = {type(case.make(fm.layers)).__name__ for case in layer_zoo.CASES.values()}
    # See test_attention.py, test_rms_normalization.py and test_text_layers.py.
    elsewhere = {"Embedding", "MultiHeadAttention", "RMSNormalization"}
    of_texts = {type(case.make(fm.layers)).__name__ for case in text_cases.CASES.values()}
    assert compared >= set(LAYERS) - inside - elsewhere - of_texts
