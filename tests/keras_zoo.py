"""Small models with every kind of layer that a Keras file may contain, and inputs.

    for name, model, inputs in models():
        model.save(...)

Needs Keras. All weights are random, including those that Keras initializes with zeros or ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Builder = Callable[[Any, Any], Any]
ONES: dict[str, Builder] = {}  # from keras and its layers to a model


def one(builder: Builder) -> Builder:
    ONES[builder.__name__] = builder
    return builder


def models(names: list[str] | None = None) -> Iterator[tuple[str, Any, Any]]:
    import keras

    from . import keras_zoo_masks, keras_zoo_operations  # noqa: F401 - they register models

    for number, (name, builder) in enumerate(ONES.items()):
        if names is None or name in names:
            model = builder(keras, keras.layers)
            rng = np.random.default_rng(number)
            for weight in model.weights:
                if weight.dtype.startswith("float"):
                    low = 0.3 if "variance" in weight.path else -0.7
                    weight.assign(rng.uniform(low, 0.7, weight.shape).astype("float32"))
            wanted = getattr(model, "_inputs_struct", model.inputs[0])
            if isinstance(wanted, dict):
                yield name, model, {key: _values(rng, one) for key, one in wanted.items()}
            elif isinstance(wanted, list):
                yield name, model, [_values(rng, one) for one in wanted]
            else:
                yield name, model, _values(rng, wanted)


def _values(rng: Any, tensor: Any) -> Any:
    """Ids with zeros at the end, or numbers with some steps of zeros."""
    shape = (3, *(7 if n is None else n for n in tensor.shape[1:]))
    if "bool" in str(tensor.dtype):
        return rng.random(shape) < 0.7
    if "int" in str(tensor.dtype):
        ids = rng.integers(0, 9, shape).astype("int32")
        if len(shape) == 2:
            ids[0, 4:] = 0
            ids[1, :2] = 0
        return ids
    x = rng.standard_normal(shape).astype("float32")
    if len(shape) == 3:
        x[0, 4:] = 0
        x[1, :2] = 0
    return x


def words(keras: Any, K: Any, size: int = 6, **options: Any) -> tuple[Any, Any]:
    ids = keras.Input((None,), dtype="int32")
    return ids, K.Embedding(12, size, mask_zero=True, **options)(ids)


@one
def simple_stack(keras: Any, K: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            K.Embedding(12, 5, mask_zero=True),
            K.Bidirectional(K.LSTM(4, return_sequences=True), name="both"),
            K.SpatialDropout1D(0.2),
            K.GRU(3, return_sequences=True, reset_after=False, recurrent_activation="hard_sigmoid"),
            K.SimpleRNN(4, activation="relu", return_sequences=True),
            K.TimeDistributed(K.Dense(3, activation="tanh")),
            K.GlobalAveragePooling1D(),
            K.Dense(2, activation="softmax"),
        ]
    )


@one
def merge_modes(keras: Any, K: Any) -> Any:
    ids, x = words(keras, K)
    sums = K.Bidirectional(K.GRU(4, return_sequences=True), merge_mode="sum")(x)
    parts = K.Bidirectional(K.LSTM(4), merge_mode=None)(sums)
    other = K.Bidirectional(
        K.LSTM(4), backward_layer=K.GRU(4, go_backwards=True), merge_mode="mul"
    )(sums)
    return keras.Model(ids, [*parts, other, K.Bidirectional(K.SimpleRNN(2), merge_mode="ave")(x)])


@one
def convolution(keras: Any, K: Any) -> Any:
    x = keras.Input((12, 3))
    y = K.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="relu")(x)
    y = K.ZeroPadding1D((1, 2))(y)
    y = K.MaxPooling1D(2, strides=1)(y)
    y = K.Conv1D(4, 2, strides=2, padding="same", use_bias=False)(y)
    y = K.UpSampling1D(2)(K.AveragePooling1D(2)(y))
    y = K.Cropping1D((1, 1))(y)
    return keras.Model(x, [K.Flatten()(y), K.GlobalMaxPooling1D()(y), K.Permute((2, 1))(y)])


@one
def activations(keras: Any, K: Any) -> Any:
    x = keras.Input((5, 4))
    y = [
        K.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2)(x),
        K.LeakyReLU(negative_slope=0.2)(x),
        K.ELU(0.7)(x),
        K.PReLU(shared_axes=[1])(x),
        K.Softmax(axis=1)(x),
        *(K.Activation(name)(x) for name in ("gelu", "silu", "softsign", "mish", "hard_sigmoid")),
    ]
    return keras.Model(x, K.Concatenate()(y))


@one
def normalizations(keras: Any, K: Any) -> Any:
    x = keras.Input((6, 4))
    normal = K.Normalization(axis=-1)
    normal.adapt(np.random.default_rng(3).standard_normal((9, 6, 4)) * 3 + 1)
    y = K.BatchNormalization()(normal(x))
    y = K.LayerNormalization(center=False)(y)
    y = K.GroupNormalization(2)(y)
    y = K.UnitNormalization()(K.Rescaling(2.0, offset=0.5)(y))
    return keras.Model(x, K.BatchNormalization(scale=False, trainable=False)(y))


@one
def merges(keras: Any, K: Any) -> Any:
    ids, x = words(keras, K)
    other = keras.Input((None, 6))
    z = K.Masking()(other)
    y = [
        layer()([x, z])
        for layer in (K.Add, K.Subtract, K.Multiply, K.Average, K.Maximum, K.Minimum)
    ]
    both = K.Concatenate(axis=1)([x, z])
    rows = [K.LSTM(3)(one) for one in (*y, both)]
    return keras.Model([ids, other], [*rows, K.Dot(axes=-1)([rows[0], rows[1]])])


@one
def reshaping(keras: Any, K: Any) -> Any:
    x = keras.Input((6,))
    y = K.RepeatVector(4)(K.Dense(5)(x))
    y = K.GRU(3, return_sequences=True)(y)
    y = K.Reshape((3, 4))(y)
    return keras.Model(x, K.Flatten()(K.Permute((2, 1))(y)))


@one
def attention(keras: Any, K: Any) -> Any:
    ids, x = words(keras, K)
    y = K.LSTM(6, return_sequences=True)(x)
    a = K.Attention(use_scale=True)([y, x])
    b = K.AdditiveAttention()([x, y])
    c = K.Attention(score_mode="concat")([y, x])
    # Keras removes the masks from the inputs of MultiHeadAttention, for all later layers, too.
    own, others = K.Embedding(12, 6, mask_zero=True)(ids), K.Embedding(12, 6, mask_zero=True)(ids)
    d = K.MultiHeadAttention(2, 3, value_dim=4)(own, own)
    e = K.MultiHeadAttention(2, 3, use_bias=False)(others, others, use_causal_mask=True)
    return keras.Model(ids, K.LSTM(4)(K.Concatenate()([a, b, c, d, e])))


@one
def cells(keras: Any, K: Any) -> Any:
    ids, x = words(keras, K)
    stack = K.RNN(K.StackedRNNCells([K.LSTMCell(3), K.GRUCell(2), K.LSTMCell(4)]))
    one = K.RNN(K.SimpleRNNCell(3), return_sequences=True)(x)
    return keras.Model(ids, [stack(x), K.Bidirectional(K.RNN(K.LSTMCell(2)))(one)])


@one
def states(keras: Any, K: Any) -> Any:
    source, x = words(keras, K)
    target, y = words(keras, K)
    _, h, c = K.LSTM(4, return_state=True)(x)
    decoded, *_ = K.LSTM(4, return_sequences=True, return_state=True)(y, initial_state=[h, c])
    again = K.GRU(4, return_sequences=True)(decoded, initial_state=h)
    both = K.Bidirectional(K.GRU(4))(again, initial_state=[h, c])
    twice = K.GRU(4, return_sequences=True)
    last = K.LSTM(2)(twice(twice(decoded, initial_state=h), initial_state=c))
    return keras.Model([source, target], [K.Dense(3)(again), K.LSTM(2)(decoded), both, last])


@one
def nested(keras: Any, K: Any) -> Any:
    inner_ids, x = words(keras, K)
    encoder = keras.Model(inner_ids, K.LSTM(4, return_sequences=True)(x), name="encoder")
    head = keras.Sequential([K.Dense(3), K.BatchNormalization(), K.Dense(2)], name="head")
    a, b = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    first, second = encoder(a), encoder(b)
    pooled = K.GlobalAveragePooling1D()(K.Add()([first, second]))
    return keras.Model([a, b], [head(pooled), K.GRU(3)(first), head(K.LSTM(4)(second))])


@one
def frozen(keras: Any, K: Any) -> Any:
    inner = keras.Sequential([keras.Input((4,)), K.Dense(3), K.BatchNormalization(), K.Dense(3)])
    inner.layers[0].trainable = False
    outer = keras.Sequential([keras.Input((4,)), inner, K.BatchNormalization(), K.Dense(2)])
    whole = keras.Sequential([keras.Input((2,)), K.Dense(3), K.BatchNormalization()])
    whole.trainable = False
    return keras.Sequential([outer, whole])


@one
def shared(keras: Any, K: Any) -> Any:
    ids, x = words(keras, K)
    reader = K.GRU(6, return_sequences=True)
    dense = K.Dense(6)
    y = reader(dense(reader(x)))
    return keras.Model(ids, [dense(y), K.LSTM(3)(y)])


@one
def names(keras: Any, K: Any) -> Any:
    ids, x = words(keras, K)
    other = keras.Input((5,), name="numbers")
    y = K.Concatenate()([K.LSTM(4)(x), other])
    return keras.Model({"words": ids, "extra": other}, {"b": K.Dense(2)(y), "a": K.Dense(1)(y)})


@one
def backwards(keras: Any, K: Any) -> Any:
    ids, x = words(keras, K)
    y = K.LSTM(4, go_backwards=True)(x)
    z = K.GRU(4, return_sequences=True, zero_output_for_mask=True)(x)
    return keras.Model(ids, [y, z, K.SimpleRNN(3, use_bias=False)(z)])


@one
def double(keras: Any, K: Any) -> Any:
    ids = keras.Input((None,), dtype="int32")
    x = K.Embedding(12, 5, mask_zero=True, dtype="float64")(ids)
    return keras.Model(ids, K.Dense(3, dtype="float64")(K.LSTM(4, dtype="float64")(x)))


@one
def noise(keras: Any, K: Any) -> Any:
    ids, x = words(keras, K)
    for layer in (
        K.Dropout(0.3, noise_shape=(None, 1, 6)),
        K.GaussianNoise(0.1),
        K.GaussianDropout(0.2),
        K.AlphaDropout(0.1),
        K.ActivityRegularization(0.1),
        K.Identity(),
    ):
        x = layer(x)
    return keras.Model(
        ids, K.LSTM(3, dropout=0.1, recurrent_dropout=0.2, kernel_regularizer="l2")(x)
    )


@one
def stateful(keras: Any, K: Any) -> Any:
    x = keras.Input(batch_shape=(3, 4, 5))
    y = K.LSTM(4, stateful=True, return_sequences=True)(K.Masking()(x))
    return keras.Model(x, K.GRU(3, stateful=True)(y))


@one
def categories(keras: Any, K: Any) -> Any:
    x = keras.Input((4,))
    y = K.Discretization(bin_boundaries=[-0.5, 0.0, 0.5])(x)
    return keras.Model(x, K.Dense(3)(K.CategoryEncoding(4, output_mode="multi_hot")(y)))


@one
def layers_as_activations(keras: Any, K: Any) -> Any:
    x = keras.Input((6, 4))
    y = K.Dense(3, activation=K.LeakyReLU(negative_slope=0.1))(x)
    return keras.Model(x, [K.Activation(K.ELU())(y), K.Conv1D(3, 2, activation=K.ReLU(6.0))(y)])
