"""Models in which masks are given, changed, lost or kept; see `keras_zoo`."""

from __future__ import annotations

from typing import Any

from .keras_zoo import one, words


@one
def given_masks(keras: Any, K: Any) -> Any:
    ids = keras.Input((None,), dtype="int32")
    valid = keras.Input((None,), dtype="bool")
    masked = K.Embedding(12, 6, mask_zero=True)
    x = masked(ids)
    plain = K.Embedding(12, 6)(ids)
    ones = [
        K.LSTM(3)(plain, mask=valid),
        K.LSTM(3)(x, mask=valid),
        K.LSTM(3)(x, mask=keras.ops.not_equal(ids, 3)),
        K.GRU(3)(K.Conv1D(6, 3, padding="same")(x), mask=masked.compute_mask(ids)),
        K.GRU(3)(x, mask=keras.ops.logical_and(valid, keras.ops.not_equal(ids, 0))),
        K.GRU(3)(K.LSTM(4, return_sequences=True)(plain, mask=valid)),
        K.GlobalAveragePooling1D()(plain, mask=valid),
    ]
    return keras.Model([ids, valid], ones)


@one
def reversed_sequences(keras: Any, K: Any) -> Any:
    """Keras does not reverse the mask when outputs are reversed."""
    ids, x = words(keras, K)
    backwards = {"go_backwards": True, "return_sequences": True}
    y, state = K.GRU(6, return_state=True, **backwards)(x)
    several = K.RNN([K.LSTMCell(4), K.GRUCell(6)], **backwards)(x)
    first = K.LSTM(3, **backwards)
    both = K.Bidirectional(first, backward_layer=K.SimpleRNN(3, return_sequences=True))(x)
    parts = K.Bidirectional(
        K.LSTM(3, **backwards),
        backward_layer=K.SimpleRNN(3, return_sequences=True),
        merge_mode=None,
    )(x)
    inner = keras.Sequential([K.SimpleRNN(4, **backwards), K.SimpleRNN(4, **backwards)])
    layers = [K.GRU(3)(one) for one in (y, several, both, *parts, K.Concatenate()([x, y]))]
    return keras.Model(ids, [*layers, state, both, K.GRU(2)(inner(x))])


@one
def reversed_sequences_of_plain_numbers(keras: Any, K: Any) -> Any:
    x = keras.Input((5, 4))
    forward = K.GRU(3, go_backwards=True, return_sequences=True, return_state=True)
    backward = K.LSTM(3, return_sequences=True, return_state=True)
    return keras.Model(x, K.Bidirectional(forward, backward_layer=backward)(x))


@one
def reversed_stack(keras: Any, K: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            K.Embedding(12, 5, mask_zero=True),
            K.LSTM(4, go_backwards=True, return_sequences=True),
            K.GRU(4, go_backwards=True, return_sequences=True),
            K.GRU(3),
        ]
    )


@one
def lost_masks(keras: Any, K: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            K.Embedding(12, 5, mask_zero=True, dtype="float64"),
            K.LSTM(4, return_sequences=True, dtype="float64"),
            K.RMSNormalization(dtype="float64"),
            K.GRU(3, return_sequences=True, dtype="float64"),
            K.RMSNormalization(axis=[1, 2], dtype="float64"),
            K.LSTM(3, dtype="float64"),
        ]
    )


@one
def masked_steps_in_moments(keras: Any, K: Any) -> Any:
    """Keras counts masked steps, too, and passes the mask on."""
    ids = keras.Input((7,), dtype="int32")
    x = K.Embedding(12, 6, mask_zero=True)(ids)
    group = K.GroupNormalization(2)
    inner = keras.Sequential([keras.Input((7, 6)), K.GroupNormalization(3), K.GRU(3)])
    ones = [
        group(x),
        group(group(x)),
        K.LayerNormalization(axis=[1, 2])(x),
        K.UnitNormalization(axis=1)(x),
    ]
    return keras.Model(ids, [*(K.LSTM(3)(one) for one in ones), inner(x)])


@one
def masked_steps_in_moments_of_a_stack(keras: Any, K: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            K.Embedding(12, 6, mask_zero=True),
            K.GroupNormalization(2),
            K.GRU(4, go_backwards=True, return_sequences=True),
            K.GroupNormalization(2),
            K.LSTM(3),
        ]
    )
