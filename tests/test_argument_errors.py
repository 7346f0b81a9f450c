"""Arguments that are wrong or misspelt: the message names them, and says what was expected."""

from __future__ import annotations

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .wrong_calls import Call, Wrong, X, assert_says, built, each_row

KERNELS = (
    "must be one of 'linear', 'relu', 'sigmoid', 'hard_sigmoid', 'tanh', 'hard_sigmoid_keras2', not"
)

ARGUMENTS: list[Wrong] = [
    (
        "mask in place of the size of batches",
        lambda: built().predict(X, np.ones((2, 3), bool)),
        TypeError,
        ("batch_size must be an integer, not an array of shape (2, 3) of type ndarray",),
    ),
    (
        "long text for units",
        lambda: L.LSTM("x" * 1000),  # type: ignore[arg-type]  # wrong on purpose
        TypeError,
        ("units must be an integer, not 'xxx", "x... of type str"),
    ),
    (
        "class for units",
        lambda: L.LSTM(np.ndarray),  # type: ignore[arg-type]  # wrong on purpose
        TypeError,
        ("units must be an integer, not <class 'numpy.ndarray'>",),
    ),
    (
        "long list for a model",
        lambda: fm.Predictor(["x" * 60] * 9, "x"),  # type: ignore[arg-type]  # wrong on purpose
        TypeError,
        ("model must be a model or the name of a file, not ['xxx", "xxx..."),
    ),
    (
        "size of inputs for activation",
        lambda: L.LSTM(10, 20),
        TypeError,
        ("activation", KERNELS, "20", "sizes of inputs are not given"),
    ),
    (
        "size of inputs for activation of dense",
        lambda: L.Dense(10, 20),
        TypeError,
        ("activation must be a name", "function", "not 20", "sizes of inputs are not given"),
    ),
    (
        "numpy's tanh",
        lambda: L.LSTM(4, activation=np.tanh),
        ValueError,
        ("activation", KERNELS, "<ufunc 'tanh'>", "give its name, 'tanh'"),
    ),
    (
        "numpy's tanh in ops",
        lambda: fm.ops.rnn(X, np.ones((3, 4)), np.ones((4, 4)), activation=np.tanh),
        ValueError,
        ("activation", KERNELS, "<ufunc 'tanh'>", "give its name, 'tanh'"),
    ),
    (
        "an activation without a kernel",
        lambda: L.GRU(4, recurrent_activation="gelu"),
        ValueError,
        ("recurrent_activation", KERNELS, "'gelu'", "RNN(cell)"),
    ),
    (
        "a function without a kernel",
        lambda: L.GRU(4, activation=fm.activations.gelu),
        ValueError,
        ("activation", KERNELS, "gelu", "RNN(cell)"),
    ),
    (
        "a misspelt activation",
        lambda: L.LSTM(4, "tahn"),
        ValueError,
        ("activation", KERNELS, "'tahn'", "did you mean 'tanh'?"),
    ),
    (
        "a misspelt activation of dense",
        lambda: L.Dense(4, "rleu"),
        ValueError,
        ("activation must be one of", "'rleu'", "did you mean 'relu'?"),
    ),
    (
        "a misspelt argument",
        lambda: L.LSTM(4, return_sequence=True),
        TypeError,  # type: ignore[call-arg]  # on purpose
        ("LSTM()", "'return_sequence'", "did you mean 'return_sequences'?"),
    ),
    (
        "an unknown argument",
        lambda: L.Dense(4, color=1),
        TypeError,  # type: ignore[call-arg]  # on purpose
        ("Dense()", "unexpected keyword argument 'color'"),
    ),
    (
        "a misspelt mode",
        lambda: L.Bidirectional(L.LSTM(4), merge_mode="concatenate"),
        ValueError,
        ("merge_mode must be one of 'concat'", "'concatenate'", "did you mean 'concat'?"),
    ),
    ("no units", lambda: L.LSTM(), TypeError, ("LSTM.__init__()", "'units'")),  # type: ignore[call-arg]  # on purpose
    ("units of a fraction", lambda: L.LSTM(4.0), TypeError, ("units must be an integer", "4.0")),  # type: ignore[arg-type]  # on purpose
    ("negative units", lambda: L.GRU(-1), ValueError, ("units must be at least 1, not -1",)),
    (
        "a regularizer",
        lambda: L.LSTM(4, kernel_regularizer="l2"),
        ValueError,  # type: ignore[arg-type]  # on purpose
        ("kernel_regularizer of LSTM must be None, not 'l2'", "training", "inference"),
    ),
    (
        "another dtype",
        lambda: L.LSTM(4, dtype="float16"),
        ValueError,
        ("dtype must be one of 'float32', 'float64', not 'float16'",),
    ),
    (
        "a word for a flag",
        lambda: L.LSTM(4, stateful="yes"),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("stateful must be True or False, not 'yes'",),
    ),
    (
        "a layer for a cell",
        lambda: L.RNN(L.LSTM(4, name="a")),
        TypeError,
        ("cell must have call(inputs, states)", "<LSTM 'a'>", "LSTMCell"),
    ),
    (
        "a number for a shape",
        lambda: L.Reshape(7),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("target_shape must be a tuple", "(7,)", "not 7"),
    ),
    (
        "a number for an order",
        lambda: L.Permute(2),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("dims must be a tuple", "(2,)", "not 2"),
    ),
    (
        "a layer for a list",
        lambda: fm.Sequential(L.LSTM(4, name="a")),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("layers must be a list of layers", "<LSTM 'a'>", "put it into a list"),
    ),
    (
        "a class for a layer",
        lambda: fm.Sequential([L.LSTM]),
        TypeError,  # type: ignore[list-item]  # on purpose
        ("layer must be a fastmask Layer", "make one of that class"),
    ),
    (
        "an unknown layer",
        lambda: built().get_layer("writer"),
        ValueError,
        ("name must be that of a layer of 'small'", "'reader'", "not 'writer'"),
    ),
    (
        "fractions as lengths",
        lambda: fm.Mask.from_lengths([1.0, 2.5]),
        ValueError,
        ("lengths must hold integers, but one is 2.5",),
    ),
    (
        "lengths beyond maxlen",
        lambda: fm.Mask.from_lengths([3], maxlen=2),
        ValueError,
        ("lengths[0] is 3", "maxlen=2"),
    ),
    (
        "one moment",
        lambda: L.Normalization(mean=[1.0]),
        ValueError,
        ("mean and variance must both be given",),
    ),
    (
        "moments of another size",
        lambda: L.Normalization(mean=[1.0, 2.0], variance=[1.0, 1.0], name="n")(X),
        ValueError,
        ("mean of layer 'n'", "(2,)", "(3,)"),
    ),
    (
        "adapt to nothing",
        lambda: L.Normalization().adapt(None),
        TypeError,
        ("data must hold real numbers, not dtype object such as None",),
    ),
    (
        "an activation in capitals",
        lambda: fm.activations.get("Relu"),
        ValueError,
        ("activation must be one of", "'Relu'", "did you mean 'relu'?"),
    ),
    (
        "a misspelt initializer",
        lambda: L.Embedding(3, 2, embeddings_initializer="he_normla"),
        ValueError,
        ("embeddings_initializer must be one of", "'he_normla'", "did you mean 'he_normal'?"),
    ),
]


@each_row(ARGUMENTS)
def test_message(call: Call, kind: type[Exception], parts: tuple[str, ...]) -> None:
    assert_says(call, kind, parts)


def test_plans_that_contradict_themselves_name_both_arrays() -> None:
    kernels = pytest.importorskip("fastmask_kernels.cpu")
    state = np.zeros((2, 4), np.float32)
    packed = np.zeros(kernels.rnn_packed_size(3, 4, X.dtype), np.float32)
    outputs = np.zeros((2, 5, 4), np.float32)

    def run(offsets: list[int], order: list[int]) -> None:
        kernels.rnn_fwd(
            *(outputs, state.copy(), np.empty((0, 4), np.float32), X, np.array(offsets)),
            *(np.array([0, 1, 5, 6, 7]), np.array(order), packed, state),
            *("tanh", False, False, 1),
        )

    with pytest.raises(ValueError, match=r"order must name .* offsets\[b \+ 1\] - offsets\[b\]"):
        run([0, 2, 5], [0, 1])
    with pytest.raises(ValueError, match=r"steps\[offsets\[b\]:offsets\[b \+ 1\]\] must ascend"):
        run([0, 3, 5], [0, 1])
    empty = [np.empty(size, np.int64) for size in (4, 10, 2)]  # of 3 rows, 10 steps, 2 rows
    with pytest.raises(ValueError, match=r"order must have shape \(B\) with B=3 of offsets"):
        kernels.plan_steps(*empty, np.ones((2, 5), np.bool_))
