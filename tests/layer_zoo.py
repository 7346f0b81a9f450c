"""The layers that are compared with Keras: how each is made, and what it is called on.

`CASES` makes every layer from a namespace, fastmask's layers or Keras's, so that both get the same
arguments. Inputs, weights and masks are seeded by the case and the name of its masks; Keras's
answers are in `data/layer_golden.npz`, written by `data/make_layer_golden.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import golden, golden_archive

Array = npt.NDArray[Any]
PATH = Path(__file__).parent / "data" / "layer_golden.npz"
B, T, F = golden.B, golden.T, golden.F
SEQUENCE = ((B, T, F),)
PAIR, TRIPLE = SEQUENCE * 2, SEQUENCE * 3
FLAT = ((B, T),)


class Case(NamedTuple):
    """A layer, and the shapes of its inputs."""

    make: Callable[[Any], Any]
    shapes: tuple[tuple[int, ...], ...] = SEQUENCE
    training: bool = False
    expand_mask: bool = False  # Keras takes the mask only as (B, T, 1), given with mask=


CASES: dict[str, Case] = {
    "dense": Case(lambda L: L.Dense(4, activation="tanh")),
    "activation": Case(lambda L: L.Activation("gelu")),
    "masking": Case(lambda L: L.Masking()),
    "relu": Case(lambda L: L.ReLU()),
    "relu_options": Case(lambda L: L.ReLU(max_value=1.0, negative_slope=0.2, threshold=0.4)),
    "relu_slope": Case(lambda L: L.ReLU(negative_slope=0.2)),
    "leaky_relu": Case(lambda L: L.LeakyReLU()),
    "elu": Case(lambda L: L.ELU(0.7)),
    "prelu": Case(lambda L: L.PReLU()),
    "prelu_shared": Case(lambda L: L.PReLU(shared_axes=[1])),
    "softmax": Case(lambda L: L.Softmax(), expand_mask=True),
    "softmax_time": Case(lambda L: L.Softmax(axis=1), expand_mask=True),
    "softmax_both": Case(lambda L: L.Softmax(axis=[1, 2]), expand_mask=True),
    "softmax_flat": Case(lambda L: L.Softmax(), FLAT),
    "dropout": Case(lambda L: L.Dropout(0.5)),
    "dropout_all": Case(lambda L: L.Dropout(1.0), training=True),
    "dropout_none": Case(lambda L: L.Dropout(0.0), training=True),
    "spatial_dropout": Case(lambda L: L.SpatialDropout1D(0.5)),
    "gaussian_noise": Case(lambda L: L.GaussianNoise(0.5)),
    "gaussian_dropout": Case(lambda L: L.GaussianDropout(0.5)),
    "alpha_dropout": Case(lambda L: L.AlphaDropout(0.5)),
    "layer_norm": Case(lambda L: L.LayerNormalization()),
    "layer_norm_axes": Case(lambda L: L.LayerNormalization(axis=[1, 2], epsilon=0.1)),
    "group_norm": Case(lambda L: L.GroupNormalization(groups=2), ((B, T, 4),)),
    "group_norm_instance": Case(lambda L: L.GroupNormalization(groups=-1, scale=False)),
    "group_norm_time": Case(lambda L: L.GroupNormalization(groups=3, axis=1)),
    "unit_norm": Case(lambda L: L.UnitNormalization()),
    "unit_norm_axes": Case(lambda L: L.UnitNormalization(axis=[1, 2])),
    "batch_norm": Case(lambda L: L.BatchNormalization(renorm=False, synchronized=False)),
    "batch_norm_training": Case(lambda L: L.BatchNormalization(momentum=0.7), training=True),
    "batch_norm_plain": Case(
        lambda L: L.BatchNormalization(center=False, scale=False, epsilon=0.1), training=True
    ),
    "normalization": Case(lambda L: L.Normalization()),
    "normalization_given": Case(
        lambda L: L.Normalization(mean=[0.3, -1.0, 2.0], variance=[0.5, 4.0, 1.0], invert=True)
    ),
    "rescaling": Case(lambda L: L.Rescaling(0.3, offset=[1.0, 2.0, -1.0])),
    "identity": Case(lambda L: L.Identity()),
    "time_distributed": Case(lambda L: L.TimeDistributed(L.Dense(4, activation="relu"))),
    "time_distributed_flatten": Case(lambda L: L.TimeDistributed(L.Flatten()), ((B, T, F, 2),)),
    "time_distributed_norm": Case(
        lambda L: L.TimeDistributed(L.BatchNormalization(momentum=0.7)), training=True
    ),
    "average_pooling": Case(lambda L: L.GlobalAveragePooling1D()),
    "average_pooling_keepdims": Case(lambda L: L.GlobalAveragePooling1D(keepdims=True)),
    "max_pooling": Case(lambda L: L.GlobalMaxPooling1D()),
    "max_pooling_first": Case(
        lambda L: L.GlobalMaxPooling1D(data_format="channels_first", keepdims=True)
    ),
    "conv": Case(lambda L: L.Conv1D(4, 3, activation="tanh")),
    "conv_same": Case(lambda L: L.Conv1D(4, 4, strides=2, padding="same", use_bias=False)),
    "conv_causal": Case(lambda L: L.Conv1D(4, 3, padding="causal", dilation_rate=2)),
    "conv_causal_strides": Case(lambda L: L.Conv1D(4, 2, 2, padding="causal")),
    "conv_groups": Case(lambda L: L.Conv1D(6, 2, 3, "same", groups=3)),
    "conv_first": Case(lambda L: L.Conv1D(4, 2, 1, "same", "channels_first", 2, 2)),
    "max_pooling_windows": Case(lambda L: L.MaxPooling1D()),
    "max_pooling_same": Case(lambda L: L.MaxPooling1D(4, 3, "same")),
    "max_pooling_steps": Case(lambda L: L.MaxPooling1D(2, 1, data_format="channels_first")),
    "average_pooling_windows": Case(lambda L: L.AveragePooling1D(4)),
    "average_pooling_same": Case(lambda L: L.AveragePooling1D(3, 1, "same")),
    "average_pooling_first": Case(lambda L: L.AveragePooling1D(2, 1, "same", "channels_first")),
    "add": Case(lambda L: L.Add(), TRIPLE),
    "add_broadcast": Case(lambda L: L.Add(), ((B, T, F), (B, T, 1))),
    "subtract": Case(lambda L: L.Subtract(), PAIR),
    "average": Case(lambda L: L.Average(), TRIPLE),
    "multiply": Case(lambda L: L.Multiply(), TRIPLE),
    "maximum": Case(lambda L: L.Maximum(), TRIPLE),
    "minimum": Case(lambda L: L.Minimum(), PAIR),
    "concatenate": Case(lambda L: L.Concatenate(), ((B, T, F), (B, T, 2))),
    "concatenate_time": Case(lambda L: L.Concatenate(axis=1), PAIR),
    "dot": Case(lambda L: L.Dot(axes=2), PAIR),
    "dot_time": Case(lambda L: L.Dot(axes=(1, 1), normalize=True), ((B, T, F), (B, T, 2))),
    "dot_flat": Case(lambda L: L.Dot(axes=-1, normalize=True), FLAT * 2),
    "attention": Case(lambda L: L.Attention(), PAIR),
    "attention_key": Case(lambda L: L.Attention(use_scale=True), ((B, T, F), (B, T, 2), (B, T, F))),
    "attention_concat": Case(lambda L: L.Attention(True, "concat"), PAIR),
    "attention_dropout": Case(lambda L: L.Attention(dropout=0.5), PAIR),
    "additive_attention": Case(lambda L: L.AdditiveAttention(), PAIR),
    "additive_attention_plain": Case(lambda L: L.AdditiveAttention(use_scale=False), TRIPLE),
    "flatten": Case(lambda L: L.Flatten()),
    "flatten_first": Case(lambda L: L.Flatten(data_format="channels_first")),
    "reshape": Case(lambda L: L.Reshape((2, -1))),
    "permute": Case(lambda L: L.Permute((2, 1))),
    "repeat_vector": Case(lambda L: L.RepeatVector(3), FLAT),
    "zero_padding": Case(lambda L: L.ZeroPadding1D((1, 2))),
    "cropping": Case(lambda L: L.Cropping1D((2, 1))),
    "up_sampling": Case(lambda L: L.UpSampling1D(3)),
    "lambda": Case(lambda L: L.Lambda(lambda x: 2 * x + 1)),
    "lambda_mask": Case(lambda L: L.Lambda(lambda x: -x, mask=lambda _inputs, mask: mask)),
}
# Positive weights would saturate their states at 1.
RECURRENT: dict[str, Case] = {
    "lstm": Case(lambda L: L.LSTM(4)),
    "lstm_sequences": Case(lambda L: L.LSTM(4, return_sequences=True)),
    "gru": Case(lambda L: L.GRU(4)),
    "gru_sequences": Case(lambda L: L.GRU(4, return_sequences=True, zero_output_for_mask=True)),
    "gru_before": Case(lambda L: L.GRU(4, reset_after=False)),
    "simple_rnn": Case(lambda L: L.SimpleRNN(4, activation="relu")),
    "simple_rnn_sequences": Case(lambda L: L.SimpleRNN(4, use_bias=False, return_sequences=True)),
    "rnn": Case(lambda L: L.RNN(L.GRUCell(4))),
    "rnn_stack": Case(
        lambda L: L.RNN([L.LSTMCell(4), L.GRUCell(3), L.SimpleRNNCell(2)], return_sequences=True)
    ),
    "rnn_stack_backwards": Case(
        lambda L: L.RNN([L.SimpleRNNCell(4), L.LSTMCell(3)], False, False, True)
    ),
    "bidirectional": Case(lambda L: L.Bidirectional(L.GRU(4))),
    "bidirectional_sequences": Case(
        lambda L: L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode="mul")
    ),
    "bidirectional_two": Case(
        lambda L: L.Bidirectional(
            L.SimpleRNN(4, return_sequences=True),
            merge_mode="ave",
            backward_layer=L.SimpleRNN(4, "relu", go_backwards=True, return_sequences=True),
        )
    ),
}
CASES |= RECURRENT
SINGLE = ("none", "full", "right", "left", "holed", "rowoff", "alloff")
SEVERAL = (*SINGLE, "left+none", "none+left")


def masks_of(name: str) -> tuple[str, ...]:
    """The names of the masks under which a case is compared."""
    return SINGLE if len(CASES[name].shapes) == 1 else SEVERAL


ALL = [(name, masks) for name in CASES for masks in masks_of(name)]


def inputs(name: str) -> list[Array]:
    """The seeded inputs of a case."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    arrays = [random.normal(size=shape).astype(np.float32) for shape in CASES[name].shapes]
    if name == "masking":
        arrays[0][golden.MASKS["holed"]] = 0
    return arrays


def weights(name: str, like: list[Array]) -> list[Array]:
    """Seeded weights, all positive, because variances must be, except in recurrent layers."""
    random = np.random.default_rng(zlib.crc32(name.encode()) + 1)
    if name in RECURRENT:
        return [0.5 * random.standard_normal(w.shape, w.dtype) for w in like]
    return [
        random.uniform(0.5, 1.5, w.shape).astype(w.dtype) if w.dtype.kind == "f" else w
        for w in like
    ]


def masks_for(name: str, masks: str) -> list[Array | None]:
    """The mask of each input: the named one, then others; or none of them."""
    count = len(CASES[name].shapes)
    if masks in golden.MASKS:
        first = golden.MASKS[masks]
        if first is None:
            return [None] * count
        return [first, np.roll(golden.MASKS["rowoff"], 1, 0), golden.MASKS["right"]][:count]
    return [golden.MASKS[one] for one in masks.split("+")] + [None] * (count - 2)


class Answer(NamedTuple):
    """The results of a layer."""

    output: Array
    mask: Array | None
    weights: list[Array]  # after a training call


_stored = cache(golden_archive.read)


def expected(name: str, masks: str) -> Answer:
    """Keras's answer."""
    stored = _stored(PATH)
    key = f"{name}|{masks}|"
    mask = stored.get(f"{key}mask")
    after = [stored[k] for k in stored if k.startswith(f"{key}w")]
    return Answer(stored[f"{key}out"], None if mask is None else mask != 0, after)


def write(answers: dict[str, Answer]) -> None:
    """Store the answers of Keras, by `name|masks`."""
    arrays = {}
    for key, answer in answers.items():
        arrays[f"{key}|out"] = answer.output
        arrays |= {f"{key}|w{number}": weight for number, weight in enumerate(answer.weights)}
        if answer.mask is not None:
            arrays[f"{key}|mask"] = answer.mask
    golden_archive.write(PATH, arrays)
