"""Inputs, masks and states that do not fit: the message names them, and says what helps."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmask as fm
from fastmask import layers as L

from .wrong_calls import Call, H, Wrong, X, assert_says, built, each_row

SHAPE = "must have shape (batch, time, features), not"


def one_input() -> fm.Model:
    ids = fm.Input((None,), dtype="int32", name="ids")
    return fm.Model(ids, L.Embedding(5, 2)(ids))


def called_twice(layer: L.Layer, first: Any, second: Any) -> Any:
    layer(first)
    return layer(second)


INPUTS: list[Wrong] = [
    (
        "lstm on four axes",
        lambda: L.LSTM(5, name="a")(np.ones((2, 5, 4, 3))),
        ValueError,
        ("inputs of layer 'a'", SHAPE, "(2, 5, 4, 3)", "TimeDistributed"),
    ),
    (
        "lstm on four symbolic axes",
        lambda: L.LSTM(5, name="a")(fm.Input((None, 4, 3))),
        ValueError,
        ("layer 'a'", SHAPE, "(None, None, 4, 3)", "TimeDistributed"),
    ),
    (
        "gru, built, on four axes",
        lambda: built()(np.ones((2, 5, 4, 3))),
        ValueError,
        ("'reader'", SHAPE, "(2, 5, 4, 3)", "TimeDistributed"),
    ),
    (
        "lstm on two axes",
        lambda: L.LSTM(5, name="a")(np.ones((2, 3))),
        ValueError,
        ("'a'", SHAPE, "(2, 3)", "x[:, :, None]", "Embedding", "return_sequences=True"),
    ),
    (
        "built lstm on two axes",
        lambda: built()(np.ones((2, 3))),
        ValueError,
        ("'reader'", SHAPE, "(2, 3)", "x[:, :, None]", "Embedding"),
    ),
    ("lstm on one axis", lambda: L.LSTM(5)([1.0, 2.0]), ValueError, (SHAPE, "(2,)")),
    (
        "bidirectional on two axes",
        lambda: L.Bidirectional(L.GRU(3), name="b")(np.ones((2, 3))),
        ValueError,
        ("'b'", SHAPE, "(2, 3)", "Embedding"),
    ),
    (
        "rnn on four axes",
        lambda: L.RNN(L.LSTMCell(3), name="r")(np.ones((2, 5, 4, 3))),
        ValueError,
        ("'r'", SHAPE, "(2, 5, 4, 3)"),
    ),
    (
        "cell on a sequence",
        lambda: L.LSTMCell(3, name="c")(X, [H, H]),
        ValueError,
        ("'c'", "(batch, features), not (2, 5, 3)", "RNN(cell)"),
    ),
    (
        "other features",
        lambda: built()(np.ones((2, 5, 4))),
        ValueError,
        ("'reader'", "must have 3 features, not 4", "(2, 5, 4)"),
    ),
    ("nothing", lambda: L.LSTM(4)(None), TypeError, ("inputs must be an array", "not None")),
    ("a word", lambda: L.Dense(4)("abc"), TypeError, ("inputs must be an array", "not 'abc'")),
    (
        "words",
        lambda: L.LSTM(4)([[["a"]]]),
        TypeError,
        ("inputs must hold real numbers, not dtype <U1 such as 'a'",),
    ),
    (
        "words as ids",
        lambda: L.Embedding(4, 2)([["a"]]),
        TypeError,
        ("inputs of layer 'e", "must hold integers, not dtype <U1 such as 'a': a TextV"),
    ),
    (
        "ids out of range",
        lambda: L.Embedding(4, 2, name="e")([[7]]),
        ValueError,
        ("'e'", "ids from 0 to 3, but one is 7"),
    ),
    (
        "ragged lists",
        lambda: L.Masking()([[[1.0]], [[1.0], [2.0]]]),
        ValueError,
        ("inputs must be an array", "rows differ in shape", "fastmask.pad"),
    ),
    (
        "a list for one input",
        lambda: L.LSTM(4, name="a")([X, X]),
        ValueError,
        ("'a'", "takes one input, not a list of 2"),
    ),
    (
        "a list of rows, for a layer",
        lambda: L.LSTM(4, name="a")([X[0], X[1, :2]]),
        ValueError,
        ("'a'", "takes one input, not a list of 2", "predict takes", "fastmask.ragged"),
    ),
    (
        "a list of rows, for a model",
        lambda: one_input()([np.array([1, 2]), np.array([3])]),
        ValueError,
        ("takes 1 input ('ids'), not 2", "predict takes", "fastmask.pad"),
    ),
    (
        "one input for a list",
        lambda: L.Add(name="a")(X),
        ValueError,
        ("inputs of layer 'a' must be a list", "(2, 5, 3)"),
    ),
    (
        "numbers as ids",
        lambda: L.Embedding(5, 2, name="a")([[1.5]]),
        ValueError,
        ("inputs of layer 'a' must hold integers, but one is 1.5: token ids are whole numbers",),
    ),
    (
        "numbers as ids of categories",
        lambda: L.CategoryEncoding(5, name="a")([[1.5]]),
        ValueError,
        ("inputs of layer 'a' must hold integers, but one is 1.5: token ids are whole numbers",),
    ),
    (
        "shapes that do not fit",
        lambda: L.Concatenate(name="a")([X, X[:1]]),
        ValueError,
        ("'a' do not fit together", "(2, 5, 3), (1, 5, 3)"),
    ),
    (
        "mask of words",
        lambda: L.LSTM(4, name="a")(X, mask=np.ones((2, 5, 3))),
        ValueError,
        ("must have shape (batch, time), not (2, 5, 3): TimeDistributed gives each step its own",),
    ),
    (
        "mask of another shape",
        lambda: L.LSTM(4, name="a")(X, mask=np.ones((2, 4))),
        ValueError,
        ("mask has shape (2, 4)", "'a'", "(2, 5, 3)"),
    ),
    (
        "build with a number",
        lambda: L.Dense(4, name="d").build(3),
        TypeError,
        ("input_shape of layer 'd'", "tuple", "(None, 3)", "not 3"),
    ),
    (
        "build without features",
        lambda: L.GRU(4, name="g").build((None, 5, None)),
        ValueError,
        ("input_shape of layer 'g'", "known number of features", "(None, 5, None)"),
    ),
    (
        "predict words",
        lambda: built().predict([["a"]]),
        TypeError,
        ("x holds strings", "'small'", "real numbers", "'a'"),
    ),
    (
        "predict objects",
        lambda: built().predict(np.array([[[None] * 3]])),
        TypeError,
        ("x holds objects", "'small'", "None"),
    ),
    (
        "predict nothing",
        lambda: built().predict(None),
        ValueError,
        ("x must be an array or a list of sequences, not None",),
    ),
    (
        "predict no rows at once",
        lambda: built().predict(X, batch_size=0),
        ValueError,
        ("batch_size must be at least 1, not 0",),
    ),
    (
        "a sequence at no step",
        lambda: L.TimeDistributed(L.LSTM(4, name="in"), name="out")(X),
        ValueError,
        ("'out'", "(2, 5, 3)", "at each step", "'in'", "(2, 3)"),
    ),
    (
        "a sequence at no step, built",
        lambda: called_twice(L.TimeDistributed(L.LSTM(4, name="in"), name="out"), X[:, None], X),
        ValueError,
        ("'out'", "(2, 5, 3)", "at each step", "'in'"),
    ),
    (
        "lengths for a mask",
        lambda: L.LSTM(4)(X, mask=[5, 2]),
        ValueError,
        ("mask must have shape (batch, time)", "(2,)", "Mask.from_lengths"),
    ),
    (
        "predict ragged words",
        lambda: built().predict([["a"], ["b", "c"]]),
        ValueError,
        ("x must hold sequences of numbers", "<U1"),
    ),
    (
        "predict numbers and words",
        lambda: built().predict([[[1.0] * 3, [2.0] * 3], [["a"] * 3]]),
        TypeError,
        ("x must hold sequences of numbers", "<U1, float64"),
    ),
]
STATES: list[Wrong] = [
    (
        "backward state of another size",
        lambda: L.Bidirectional(L.LSTM(4))(X, initial_state=[H, H, H[:, :3], H]),
        ValueError,
        ("initial_state[2] must have shape (batch, units) = (2, 4), not (2, 3)",),
    ),
    (
        "backward state of words",
        lambda: L.Bidirectional(L.LSTM(4))(X, initial_state=[H, H, H, "a"]),
        TypeError,
        ("initial_state[3] must hold real numbers", "'a'"),
    ),
    (
        "backward stack",
        lambda: L.Bidirectional(L.RNN([L.GRUCell(4), L.GRUCell(3)]))(
            X, initial_state=[H, H[:, :3], H, H]
        ),
        ValueError,
        ("initial_state[3][0] must have shape (batch, units) = (2, 3), not (2, 4)",),
    ),
    (
        "forward state",
        lambda: L.Bidirectional(L.LSTM(4))(X, initial_state=[H, H[:1], H, H]),
        ValueError,
        ("initial_state[1] must have shape", "(2, 4), not (1, 4)"),
    ),
    (
        "too few states",
        lambda: L.Bidirectional(L.LSTM(4))(X, initial_state=[H, H]),
        ValueError,
        ("initial_state must have 4 arrays, 2 for the forward", "not 2"),
    ),
    (
        "one array for two states",
        lambda: L.LSTM(4)(X, initial_state=H),
        TypeError,
        ("initial_state must be a list of 2 arrays", "not ndarray"),
    ),
    (
        "state of another dtype",
        lambda: L.LSTM(4).step(X[:, 0], [np.zeros((2, 4))] * 2),
        TypeError,
        ("state must hold", "float32, not of float64", "get_initial_state(batch_size)"),
    ),
]


@each_row([*INPUTS, *STATES])
def test_message(call: Call, kind: type[Exception], parts: tuple[str, ...]) -> None:
    assert_says(call, kind, parts)
