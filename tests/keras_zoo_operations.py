"""Models with operations between layers; see `keras_zoo`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .keras_zoo import one, words


@one
def bare_operations(keras: Any, K: Any) -> Any:
    ops = keras.ops
    ids, x = words(keras, K)
    y = K.LSTM(6, return_sequences=True)(x)
    a = ops.mean(y * 2.0 + 1.0, axis=1)
    b = ops.max(abs(1.0 - y), axis=1)
    c = y[:, -1] / (1.0 + ops.exp(-y[:, 0]))
    d = ops.softmax(ops.matmul(y, ops.transpose(y, (0, 2, 1))), axis=-1)
    e = ops.sum(ops.matmul(d, y), axis=[1]) ** 2
    f = ops.concatenate([a, b, ops.tanh(c), ops.clip(e, -1.0, 1.0)], axis=-1)
    g = ops.where(f > 0, f, ops.zeros_like(f))
    h = ops.stack([a, b], axis=1)
    i = ops.squeeze(ops.expand_dims(ops.sigmoid(a), 1), 1)
    return keras.Model(
        ids, [g, K.GRU(3)(h), i + np.arange(6, dtype="float32"), ops.cast(f > 0, "float32")]
    )


@one
def more_operations(keras: Any, K: Any) -> Any:  # noqa: ARG001 - all have the same form
    ops = keras.ops
    x, ids = keras.Input((6, 4)), keras.Input((5,), dtype="int32")
    halves = ops.split(x, 2, axis=-1)
    parts = ops.split(x, [1, 3], axis=1)
    first, second = ops.unstack(x[:, :2], axis=1)
    largest = ops.argmax(x, axis=-1, keepdims=True)
    return keras.Model(
        [x, ids],
        [
            halves[0] * halves[1],
            ops.concatenate([parts[2], parts[0]], axis=1),
            first - second,
            ops.gelu(x),
            ops.gelu(x, approximate=False),
            ops.roll(x, 2, axis=1),
            ops.roll(x, [1, -1], axis=(1, 2)),
            ops.pad(x, ((0, 0), (1, 0), (0, 0))),
            ops.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=3.0),
            ops.pad(x, ((0, 0), (1, 2), (0, 1)), mode="reflect"),
            ops.tile(x, (1, 2, 3)),
            ops.log_softmax(x, axis=1),
            ops.round(x * 4.0),
            ops.sort(x, axis=1),
            ops.moveaxis(x, 1, 2),
            ops.one_hot(ids, 7),
            ops.one_hot(ids, 9, axis=1, dtype="int32"),
            ops.take_along_axis(x, largest, axis=-1),
            *(f(x) for f in (ops.leaky_relu, ops.selu, ops.hard_sigmoid, ops.log_sigmoid)),
            *(f(x) for f in (ops.relu6, ops.softsign, ops.hard_silu)),
            ops.leaky_relu(x, negative_slope=0.5),
        ],
    )


@one
def last_valid_step(keras: Any, K: Any) -> Any:
    ids, x = words(keras, K)
    y = K.LSTM(4, return_sequences=True)(x)
    last = keras.ops.sum(keras.ops.cast(keras.ops.not_equal(ids, 0), "int32"), axis=1) - 1
    index = keras.ops.reshape(keras.ops.maximum(last, 0), (-1, 1, 1))
    return keras.Model(ids, keras.ops.squeeze(keras.ops.take_along_axis(y, index, axis=1), 1))


@one
def operations_of_attention(keras: Any, K: Any) -> Any:
    ops = keras.ops
    ids, x = words(keras, K)
    y = K.LSTM(6, return_sequences=True)(x)
    scores = ops.einsum("btf,bsf->bts", y, y)
    causal = ops.where(ops.tril(ops.ones_like(scores)) > 0, scores, -1e9)
    seen = ops.einsum("...ts,...sf->...tf", ops.softmax(causal), y)
    table = np.linspace(-1, 1, 24, dtype="float32").reshape(6, 4)
    return keras.Model(
        ids,
        [
            seen,
            ops.einsum("btf,fg->bgt", y, table),
            y * ops.einsum("btf->f", y) + ops.einsum("btf,btf", y, y),
            ops.logsumexp(y, axis=1),
            ops.logsumexp(y, axis=(1, 2), keepdims=True),
            ops.top_k(y[:, :, 0], 3)[0],
        ],
    )


@one
def rarer_operations(keras: Any, K: Any) -> Any:  # noqa: ARG001 - all have the same form
    ops = keras.ops
    x, ids = keras.Input((6, 4)), keras.Input((5,), dtype="int32")
    small = ops.tanh(x) * 0.9
    weights = ops.exp(x)
    return keras.Model(
        [x, ids],
        [
            *(f(x) for f in (ops.sinh, ops.cosh, ops.arcsinh, ops.arctan, ops.trunc, ops.exp2)),
            *(f(small) for f in (ops.arcsin, ops.arccos, ops.arctanh)),
            *(f(weights + 1.0) for f in (ops.arccosh, ops.cbrt)),
            *(f(x, small) for f in (ops.arctan2, ops.fmax, ops.fmin, ops.hypot, ops.logaddexp)),
            ops.fmod(x, weights),
            ops.logical_xor(x > 0, small > 0.5),
            *(f(x, axis=1) for f in (ops.amax, ops.amin, ops.median, ops.cumprod, ops.average)),
            ops.median(x, axis=(1, 2), keepdims=True),
            ops.count_nonzero(ids, axis=-1),
            ops.argsort(x, axis=1),
            ops.diff(x, axis=1),
            ops.diff(x, n=2),
            ops.divide_no_nan(x, ops.relu(x)),
            ops.nan_to_num(x / ops.zeros_like(x), nan=1.0, posinf=2.0, neginf=3.0),
            ops.full_like(x, 2.5),
            ops.copy(x),
            *ops.top_k(x + np.arange(4, dtype="float32"), 3),
            ops.sort(ops.top_k(x, 2, sorted=False)[0], axis=-1),
            x + ops.max(ops.ravel(x)),
            *(f(x, k=k) for f in (ops.tril, ops.triu) for k in (0, -1, 2)),
            *(f(x) for f in (ops.erf, ops.celu, ops.glu, ops.hard_shrink, ops.soft_shrink)),
            ops.celu(x, alpha=0.5),
            ops.glu(x, axis=1),
            ops.squareplus(x),
            ops.threshold(x, 0.3, -2.0),
        ],
    )


@one
def ends(keras: Any, K: Any) -> Any:
    """Outputs of a nested model, of an operation, of one layer, and an input."""
    ids, x = words(keras, K)
    y = keras.Input((None, 6), name="y")
    inner = keras.Model(y, [K.LSTM(3)(y), K.GRU(2, return_sequences=True)(y)], name="inner")
    (one, other), (again, _) = inner(x), inner(K.Dense(6)(x))
    states = K.LSTM(2, return_state=True, name="states")(x)
    back = K.GRU(2, return_sequences=True, go_backwards=True, name="back")(x)
    return keras.Model(ids, [again, other, one * 2.0, *states, back, ids, one])
