"""Wrong arguments and inputs of layers: errors that name them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm

from . import golden, layer_zoo
from .built_layers import built

X = np.random.default_rng(0).normal(size=(golden.B, golden.T, golden.F)).astype(np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda L: L.ReLU(-1.0), ValueError, "max_value must not be negative"),
        (lambda L: L.LeakyReLU("a"), TypeError, "negative_slope must be a number"),
        (lambda L: L.PReLU(shared_axes=[3])(X), ValueError, r"shared_axes.*among \[1, 2\]"),
        (lambda L: L.PReLU().build((None, None, 3)), ValueError, "axis 1.*known size"),
        (lambda L: L.Softmax("time"), TypeError, "axis must be an integer"),
        (lambda L: L.Softmax(3)(X), ValueError, "axis of layer.* is 3.* 3 axes"),
        (lambda L: L.Softmax([1, 1])(X), ValueError, "twice"),
        (lambda L: L.Softmax()(X, mask=np.ones((5, 6, 2))), ValueError, r"\(5, 6, 2\).*broadcast"),
        (lambda L: L.Softmax()(X, mask=np.ones((1, 5, 6, 3))), ValueError, "broadcast to it"),
        (lambda L: L.Softmax()(X, mask=[["a"]]), TypeError, "mask must be bool, integer or float"),
        (lambda L: L.BatchNormalization(renorm=True), ValueError, "renorm must be False"),
        (lambda L: L.BatchNormalization(synchronized=True), ValueError, "synchronized must be F"),
        (lambda L: L.BatchNormalization(renorm_clipping={}), ValueError, "renorm_clipping must be"),
        (lambda L: L.Dense(2, kernel_regularizer="l2"), ValueError, "kernel_regularizer of Dense"),
        (lambda L: L.Dense(2, trainable=2), TypeError, "trainable must be True or False"),
        (lambda L: L.Dense(2, autocast=False), ValueError, "autocast of Dense must be True"),
        (lambda L: L.Dense(2, weights=[1]), ValueError, "set_weights.weights. sets them as soon"),
        (lambda L: L.Embedding(3, 2, lora_rank=4), ValueError, "lora_rank of Embedding must be N"),
        (lambda L: L.Dense(2, units_of=1), TypeError, "Dense.* unexpected keyword.*'units_of'"),
        (lambda L: L.BatchNormalization(synchronized=1.5), TypeError, "synchronized must be True"),
        (lambda L: L.Dropout(1.5), ValueError, "rate must be between"),
        (lambda L: L.Dropout(0.5, noise_shape="a"), TypeError, "noise_shape"),
        (lambda L: L.GaussianDropout(1.0), ValueError, "rate must be less than 1"),
        (lambda L: L.GroupNormalization()(X), ValueError, "32 does not divide 3"),
        (lambda L: L.GroupNormalization(0), ValueError, "groups must be at least 1"),
        (lambda L: L.BatchNormalization([1, 2]), TypeError, "axis must be an integer"),
        (lambda L: L.LayerNormalization().build((None, 4, None)), ValueError, "known size"),
        (lambda L: L.Normalization(mean=1.0), ValueError, "both be given"),
        (lambda L: L.Normalization(mean=[1.0, 2.0], variance=[1.0, 2.0])(X), ValueError, "mean of"),
        (lambda L: L.TimeDistributed("dense"), TypeError, "layer must be a fastmask Layer"),
        (lambda L: L.TimeDistributed(L.Dense(2))(X[0]), ValueError, "three axes"),
        (lambda L: L.GlobalAveragePooling1D()(X[0]), ValueError, "batch, time, features"),
        (lambda L: L.GlobalAveragePooling1D("last"), ValueError, "data_format must be one of"),
        (lambda L: L.GlobalMaxPooling1D()(X[:, :0]), ValueError, "have no step"),
        (lambda L: L.Add()(X), ValueError, "must be a list of one or more arrays"),
        (lambda L: L.Add().compute_mask([], []), ValueError, "must be a list of one or more"),
        (lambda L: L.Multiply().compute_mask((), ()), ValueError, "must be a list of one or more"),
        (lambda L: L.Concatenate().compute_mask([], []), ValueError, "list of one or more"),
        (lambda L: L.Add()([X, X[:, :4]]), ValueError, r"fit together: \(5, 6, 3\), \(5, 4, 3\)"),
        (lambda L: L.Subtract()([X, X, X]), ValueError, "exactly 2 arrays, not 3"),
        (lambda L: L.Concatenate()([X, X[:, :4]]), ValueError, "fit together"),
        (lambda L: L.Concatenate([1]), TypeError, "axis must be an integer"),
        (lambda L: L.Dot((1, 2, 3)), ValueError, "an integer or two of them"),
        (lambda L: L.Dot(0)([X, X]), ValueError, "batch axis"),
        (lambda L: L.Dot((1, 2))([X, X]), ValueError, "fit together"),
        (lambda L: L.Reshape((4, -1))(X[:, :5]), ValueError, "cannot be reshaped"),
        (lambda L: L.Reshape((-1, -1)), ValueError, "at most one -1"),
        (lambda L: L.Permute((0, 1)), ValueError, "dims must be at least 1"),
        (lambda L: L.Permute((1, 1)), ValueError, "each of 1, 2"),
        (lambda L: L.Permute((1,))(X), ValueError, "2 axes"),
        (lambda L: L.RepeatVector(0), ValueError, "n must be at least 1"),
        (lambda L: L.ZeroPadding1D((1, 2, 3)), ValueError, "a pair"),
        (lambda L: L.Cropping1D(3)(X), ValueError, "more than 6 steps"),
        (lambda L: L.Conv1D(4, 3, groups=3), ValueError, "groups must divide filters, 4"),
        (lambda L: L.Conv1D(4, 3, groups=2)(X), ValueError, "2 does not divide 3"),
        (lambda L: L.Conv1D(4, (3, 3)), ValueError, "kernel_size must be a number"),
        (lambda L: L.Conv1D(4, 3.0), TypeError, "kernel_size must be an integer"),
        (lambda L: L.Conv1D(4, 3, 2, dilation_rate=2), ValueError, "dilation_rate must be 1"),
        (lambda L: L.Conv1D(4, 3, padding="full"), ValueError, "padding must be one of"),
        (lambda L: L.Conv1D(4, 7)(X), ValueError, "at least 7 steps.* not 6"),
        (lambda L: L.Conv1D(4, 4, dilation_rate=2)(fm.Input((6, 3))), ValueError, "7 steps"),
        (lambda L: L.Conv1D(4, 3)(X[0]), ValueError, "3 axes"),
        (lambda L: L.MaxPooling1D(0), ValueError, "pool_size must be at least 1"),
        (lambda L: L.MaxPooling1D(7)(X), ValueError, "at least 7 steps"),
        (lambda L: L.AveragePooling1D(2, 0), ValueError, "strides must be at least 1"),
        (lambda L: L.AveragePooling1D(2, padding="causal"), ValueError, "padding must be one of"),
        (lambda L: L.Lambda(3), TypeError, "function must be a function"),
    ],
)
def test_misuse(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(fm.layers)


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm", "prelu", "normalization", "conv"])
def test_inputs_of_another_size(name: str) -> None:
    layer = built(name)
    with pytest.raises(ValueError, match=f"inputs of layer '{layer.name}' must"):
        layer(np.ones((5, 6, 4)))


def test_arguments_of_training_at_their_defaults() -> None:
    layer = fm.layers.Dense(
        *(2, "relu"),
        kernel_regularizer=None,
        bias_constraint=None,
        activity_regularizer=None,
        trainable=True,
        dtype=None,
    )
    assert layer.dtype == "float32"
    assert "trainable" not in layer.get_config()
    fm.layers.BatchNormalization(gamma_regularizer=None, renorm_momentum=0.9)
    fm.layers.Embedding(3, 2, embeddings_constraint=None, lora_rank=None)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, case in layer_zoo.CASES.items()
        if len(case.shapes) == 1 and not name.startswith(("identity", "lambda"))
    ],
)
def test_several_inputs_for_a_layer_of_one(name: str) -> None:
    case = layer_zoo.CASES[name]
    layer = case.make(fm.layers)
    message = f"layer '{layer.name}' .of type {type(layer).__name__}. takes one input, not a list"
    with pytest.raises(ValueError, match=f"{message} of 2"):
        layer([np.ones(case.shapes[0], np.float32)] * 2)
    with pytest.raises(ValueError, match=f"{message} of 1"):
        layer([fm.Input(case.shapes[0][1:])])
