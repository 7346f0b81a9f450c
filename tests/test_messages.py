"""Error messages: the argument, its value, what was expected, what helps."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

X = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
H = np.zeros((2, 4), np.float32)
VECTORS = [[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]]
SHAPE = "must have shape (batch, time, features), not"
KERNELS = (
    "must be one of 'linear', 'relu', 'sigmoid', 'hard_sigmoid', 'tanh', 'hard_sigmoid_keras2', not"
)


def built(**options: Any) -> fm.Sequential:
    model = fm.Sequential([L.LSTM(4, name="reader", **options)], name="small")
    model.build((None, None, 3))
    return model


class Mine(L.Layer):
    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs


def one_input() -> fm.Model:
    ids = fm.Input((None,), dtype="int32", name="ids")
    return fm.Model(ids, L.Embedding(5, 2)(ids))


def called_twice(layer: L.Layer, first: Any, second: Any) -> Any:
    layer(first)
    return layer(second)


def load_without_classes(folder: Path) -> None:
    model = fm.Sequential([Mine()])
    model(X)
    fm.save_model(model, folder / "mine.npz")
    fm.load_model(folder / "mine.npz")


# id, call, exception, what its message must contain
Wrong = tuple[str, Callable[[], Any], type[Exception], tuple[str, ...]]
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
        ("inputs must hold integers, not dtype <U1 such as 'a'",),
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
        "shapes that do not fit",
        lambda: L.Concatenate(name="a")([X, X[:1]]),
        ValueError,
        ("'a' do not fit together", "(2, 5, 3), (1, 5, 3)"),
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
]
INPUTS += [
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
ARGUMENTS: list[Wrong] = [
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
        ("lengths must hold integers, but it holds 2.5",),
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
]
ARGUMENTS += [
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
PADDING: list[Wrong] = [
    (
        "words without a filler",
        lambda: fm.pad([["a"], ["b", "c"]]),
        ValueError,
        ("value must be one that dtype <U1 can hold", "not 0", "such as ''"),
    ),
    (
        "a filler of another size",
        lambda: fm.pad_sequences(VECTORS, value=[7, 8]),
        ValueError,
        ("value must be one that dtype int32 can hold", "(3,)", "not [7, 8]"),
    ),
    (
        "a filler where steps are numbers",
        lambda: fm.pad_sequences([[1], [2, 3]], value=[7, 8]),
        ValueError,
        ("value must be one that dtype int32 can hold, not [7, 8]",),
    ),
    (
        "a fractional filler",
        lambda: fm.pad_sequences(VECTORS, value=[7, 8.5, 9]),
        ValueError,
        ("value must be", "int32", "[7, 8.5, 9]"),
    ),
    (
        "a fractional decimal",
        lambda: fm.pad_sequences([[1]], value=Decimal("1.5")),
        ValueError,
        ("value must be", "int32", "Decimal('1.5')"),
    ),
    (
        "decimals as integers",
        lambda: fm.pad_sequences([[Decimal("1.5")]]),
        ValueError,
        ("sequences[0]", "Decimal('1.5')", "int32", "pass dtype='float32'"),
    ),
    (
        "floats as integers",
        lambda: fm.pad_sequences([[1], [1.5]]),
        ValueError,
        ("sequences[1]", "1.5", "int32", "pass dtype='float32'"),
    ),
    (
        "a decimal too large",
        lambda: fm.pad_sequences([[Decimal("1e60")]], dtype="float32"),
        ValueError,
        ("sequences[0]", "1E+60", "too large for dtype float32"),
    ),
    (
        "decimals without a dtype",
        lambda: fm.pad([[Decimal(1)]]),
        TypeError,
        ("dtype must be given", "object", "dtype='float64'"),
    ),
    (
        "one sequence",
        lambda: fm.pad_sequences([1, 2]),
        ValueError,
        ("sequences[0] must be a sequence of steps", "1"),
    ),
    (
        "a side that is none",
        lambda: fm.pad_sequences([[1]], padding="left"),
        ValueError,
        ("padding must be one of 'pre', 'post', not 'left'",),
    ),
    (
        "unpad a list",
        lambda: fm.unpad([[1]]),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("masked must be a fastmask.Masked, not list",),
    ),
]
WEIGHTS: list[Wrong] = [
    (
        "weights before building",
        lambda: L.LSTM(4, name="a").set_weights([1]),
        ValueError,
        ("weights of 'a' cannot be set yet", "built", "build(input_shape)", "call 'a'"),
    ),
    (
        "weights of a model before building",
        lambda: fm.Sequential([L.LSTM(4, name="a")], name="m").set_weights([1, 2]),
        ValueError,
        ("2 weights of 'm' cannot be set yet", "'a' has none before it is built", "call 'm'"),
    ),
    (
        "too few weights",
        lambda: built().set_weights([H]),
        ValueError,
        ("'small' must be 3 arrays, not 1", "(3, 16), (4, 16), (16,)"),
    ),
    (
        "weights of another shape",
        lambda: built().set_weights([H, H, H]),
        ValueError,
        ("weights[0] (kernel) of 'small' must have shape (3, 16), not (2, 4)",),
    ),
    (
        "no list of weights",
        lambda: built().set_weights(H),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("weights must be a list of arrays, not ndarray", "get_weights()"),
    ),
    (
        "a weight before building",
        lambda: L.LSTM(4, name="a").kernel,
        AttributeError,
        ("'a' has no weights before it is built", "call it on some data"),
    ),
]
FILES: list[Wrong] = [
    *(
        (
            f"load {ending}",
            lambda ending=ending: fm.load_model(f"m{ending}"),
            ValueError,
            ("path must end in .npz", f"'m{ending}'", "weights alone", "model.load_weights(path)"),
        )
        for ending in (".weights.h5", ".weights.json", ".json")
    ),
    *(
        (
            f"load {ending}",
            lambda ending=ending: fm.load_model(f"m{ending}"),
            ValueError,
            ("path must end in .npz", f"'m{ending}'", "set_weights", "Bringing weights over"),
        )
        for ending in (".ckpt", ".bin")
    ),
    *(
        (
            f"load {ending}",
            lambda ending=ending: fm.load_model(f"m{ending}"),
            ValueError,
            ("path must end in .npz", f"'m{ending}'", "model.load_weights(path)", "From PyTorch"),
        )
        for ending in (".pt", ".pth", ".safetensors", ".onnx")
    ),
    (
        "save .keras",
        lambda: fm.save_model(built(), "m.keras"),
        ValueError,
        ("path must end in .npz", "'m.keras'", "save_model writes no other format"),
    ),
    ("load .txt", lambda: fm.load_model("m.txt"), ValueError, ("path must end in .npz", "m.txt")),
    (
        "a list of classes",
        lambda: fm.load_model("m.npz", custom_objects=[Mine]),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("custom_objects must be like {'Mine': Mine}, not [",),
    ),
    (
        "an object of a class",
        lambda: fm.load_model("m.npz", custom_objects={"Mine": Mine()}),  # type: ignore[dict-item]  # on purpose
        TypeError,
        ("custom_objects must hold classes", "{'Mine': Mine}", "not 'Mine': <Mine"),
    ),
    (
        "save what is no model",
        lambda: fm.save_model("m.npz", built()),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("model must be a fastmask model or layer, not str",),
    ),
]
TRAINING = "fastmask's layers and models are for inference"
ELSEWHERE: list[Wrong] = [
    *(
        (
            f"model.{name}",
            lambda name=name: getattr(built(), name),
            AttributeError,
            (f"Sequential has no '{name}'", TRAINING, "fastmask.torch", "set_weights"),
        )
        for name in ("fit", "compile", "evaluate", "train_on_batch", "optimizer", "loss", "metrics")
    ),
    *(
        (
            f"layer.{name}",
            lambda name=name: getattr(L.Dense(3), name),
            AttributeError,
            (f"Dense has no '{name}'", TRAINING, "fastmask.torch"),
        )
        for name in ("trainable_variables", "trainable_weights", "add_loss", "losses")
    ),
    (
        "model.save",
        lambda: built().save("m.npz"),
        AttributeError,  # type: ignore[attr-defined]  # on purpose
        ("'save'", "fastmask.save_model(model, path)", "fastmask.load_model(path)"),
    ),
    *(
        (
            f"layer.{name}",
            lambda name=name: getattr(L.LSTM(4), name),
            AttributeError,
            (f"'{name}'", "get_weights()", "set_weights", "load_weights of a model"),
        )
        for name in ("load_weights", "save_weights")
    ),
    (
        "model.state_dict",
        lambda: built().state_dict(),
        AttributeError,  # type: ignore[attr-defined]  # on purpose
        ("'state_dict'", "fastmask.torch"),
    ),
    (
        "model.predict_on_batch",
        lambda: built().predict_on_batch(X),
        AttributeError,  # type: ignore[attr-defined]  # on purpose
        ("'predict_on_batch'", "model(x)"),
    ),
    (
        "an attribute of nobody",
        lambda: built().color,
        AttributeError,  # type: ignore[attr-defined]  # on purpose
        ("'Sequential' object has no attribute 'color'",),
    ),
]
TABLE = [*INPUTS, *STATES, *ARGUMENTS, *PADDING, *WEIGHTS, *FILES, *ELSEWHERE]


@pytest.mark.parametrize(
    ("call", "kind", "parts"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_message(call: Callable[[], Any], kind: type[Exception], parts: tuple[str, ...]) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    missing = [part for part in parts if part not in str(caught.value)]
    assert not missing, str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_layer_without_its_class(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"load_model\(path, custom_objects=\{'Mine': Mine\}\)"):
        load_without_classes(tmp_path)


def test_what_is_missing_is_missing() -> None:
    model = fm.Sequential([Mine()])
    for name in ("fit", "compile", "evaluate", "save", "loss", "trainable_variables", "parameters"):
        assert not hasattr(model, name)
        assert not hasattr(model.layers[0], name)
        assert getattr(model, name, 3) == 3
        assert not hasattr(fm.Model, name)
        assert name not in dir(model)


def test_attributes_of_users_layers_are_their_own() -> None:
    class Own(L.Layer):
        fit = 3

        def __init__(self) -> None:
            super().__init__()
            self.loss = 4

        @property
        def metrics(self) -> Any:
            return self.lost  # type: ignore[attr-defined]  # on purpose

    own = Own()
    assert (own.fit, own.loss) == (3, 4)
    with pytest.raises(AttributeError, match="'Own' object has no attribute 'lost'"):
        _ = own.metrics


def test_filler_for_each_feature() -> None:
    for dtype in ("int32", "int64", "float32", "int8"):
        rows = [np.array(row, dtype) for row in VECTORS]
        for sequences in (VECTORS, rows, [rows[0], VECTORS[1]]):
            padded = fm.pad_sequences(sequences, dtype=dtype, value=[7, 8, 9])
            assert padded.tolist() == [[[7, 8, 9], [1, 2, 3]], VECTORS[1]]
            assert padded.dtype == dtype
    wide = [np.array(row, np.int64) for row in VECTORS]
    padded = fm.pad_sequences(wide, maxlen=3, value=np.array([7.0, 8.0, 9.0]), padding="post")
    assert padded[1].tolist() == [*VECTORS[1], [7, 8, 9]]
    matrices = [np.ones((1, 2, 2)), np.ones((2, 2, 2))]
    padded = fm.pad_sequences(matrices, dtype="float64", value=[[1.5], [2.5]])
    assert padded[0, 0].tolist() == [[1.5, 1.5], [2.5, 2.5]]


def test_decimals_are_numbers() -> None:
    rows = [[Decimal("1.5")], [Decimal(2), Decimal("0.1")]]
    for dtype in ("float32", "float64"):
        expected = np.array([[7.25, 1.5], [2, 0.1]], dtype)
        np.testing.assert_array_equal(
            fm.pad_sequences(rows, dtype=dtype, value=Decimal("7.25")), expected
        )
    assert fm.pad_sequences([[1], [2, 3]], value=Decimal(7)).tolist() == [[7, 1], [2, 3]]


def test_normalization_of_another_number_of_axes() -> None:
    layer = L.Normalization()
    a, b = np.random.default_rng(2).normal(size=(2, 8, 3))
    layer.adapt([a, b])
    both = np.concatenate([a, b])
    expected = (a - both.mean(axis=0)) / both.std(axis=0)
    np.testing.assert_allclose(layer(a), expected, atol=1e-5)


def test_summary_says_that_a_model_is_not_built() -> None:
    model = fm.Sequential([L.LSTM(4, name="reader")], name="small")
    shown = str(model.summary())
    assert "small: not built" in shown
    assert "build(input_shape)" in shown
    assert "0 parameters" not in shown
    row = next(line for line in shown.splitlines() if line.startswith("reader"))
    assert row.split()[2:] == ["?", "?", "?"]
    model.build((None, None, 3))
    assert str(model.summary()).startswith("small: 128 parameters")


def test_saving_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fm.save_model(built(), tmp_path / "missing" / "m.npz")
    assert str(caught.value).endswith(f"'{tmp_path / 'missing'}'")


def test_names_of_keras_guide() -> None:
    assert fm.utils.pad_sequences is fm.pad_sequences
    x = L.Embedding(9, 4, mask_zero=True)([[3, 0]])
    assert x._keras_mask is x.mask
    symbolic = L.Embedding(9, 4, mask_zero=True)(fm.Input((None,), "int32"))
    assert L.LSTM(4)(symbolic, mask=symbolic._keras_mask).shape == (None, 4)
    assert fm.Input((3,))._keras_mask is None


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
