"""Keras layers computed by fastmask, against Keras itself."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

from tests.keras_cases import Case, found_by, random_case, the_keras

pytestmark = [
    pytest.mark.optional,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Keras's own, of NumPy
]
keras = the_keras()

import fastmask.keras as fk  # noqa: E402 - needs Keras

layers = keras.layers
PARTS = 5


def assert_same(case: Case) -> None:
    """Keras and fastmask agree, in results and gradients, to 1e-5."""
    expected = found_by(keras, case)
    names, reasons = fk.convert(case.layer)
    assert names, case.name
    assert not reasons, case.name
    found = found_by(keras, case)
    fk.revert(case.layer)
    for one, other in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(other).max(initial=0)))
        np.testing.assert_allclose(one / scale, other / scale, 0, 1e-5, err_msg=case.name)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_150_random_layers(part: int) -> None:
    for number in range(part, 150, PARTS):
        assert_same(random_case(keras, number))


def test_float64_is_not_rounded() -> None:
    """Keras's own loop rounds it on torch, to 1e-7."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 6, 2))
    layer = layers.SimpleRNN(4, dtype="float64")
    layer.build(x.shape)
    kernel, recurrent_kernel, bias = (rng.standard_normal(w.shape) for w in layer.weights)
    layer.set_weights([kernel, recurrent_kernel, bias])
    fk.convert(layer)
    h = np.zeros((3, 4))
    for t in range(6):
        h = np.tanh(x[:, t] @ kernel + h @ recurrent_kernel + bias)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), h, 0, 1e-13)


class TestWhyNot:
    def test_reasons(self) -> None:
        lstm, rnn = layers.LSTM, layers.RNN
        mixed = keras.DTypePolicy("mixed_bfloat16")
        reasons = {
            "it has recurrent_dropout": lstm(2, recurrent_dropout=0.5),
            "it has unroll=True": layers.GRU(2, unroll=True),
            "it computes in bfloat16": layers.SimpleRNN(2, dtype=mixed),
            "it computes in float16": lstm(2, dtype="float16"),
            "its activation softsign is not one of": lstm(2, activation="softsign"),
            "its activation silu is not one of": layers.GRU(2, recurrent_activation="swish"),
            "its activation <lambda> is not": lstm(2, activation=lambda x: x),
            "its activation LeakyReLU is not": lstm(2, activation=layers.LeakyReLU()),
            "its cell is a StackedRNNCells": rnn([layers.LSTMCell(2), layers.LSTMCell(2)]),
            "its cell is a ConvLSTMCell": layers.ConvLSTM1D(2, 3),
            "with implementation=1": _first_implementation(),
            "Dense is not a recurrent layer": layers.Dense(2),
            "it computes nothing itself: ask about the layers": layers.Bidirectional(layers.GRU(2)),
            "its cell is a Own": rnn(_own_cell()),
            "its class Loop has an inner_loop of its own": _own_loop(),
        }
        for reason, layer in reasons.items():
            assert fk.why_not(layer).startswith(reason), (reason, fk.why_not(layer))

    def test_nothing_to_say(self) -> None:
        for layer in (
            layers.LSTM(2, dropout=0.5, stateful=True, go_backwards=True, return_state=True),
            layers.GRU(2, reset_after=False, zero_output_for_mask=True, dtype="float64"),
            layers.SimpleRNN(2, activation=None, use_bias=False),
            layers.RNN(layers.LSTMCell(2, activation="hard_sigmoid")),
            layers.RNN(layers.GRUCell(2, activation="relu"), return_sequences=True),
            layers.RNN(layers.SimpleRNNCell(2)),
        ):
            assert fk.why_not(layer) == ""

    def test_no_layer(self) -> None:
        with pytest.raises(TypeError, match="layer must be a layer of Keras, not int"):
            fk.why_not(3)
        for function in (fk.convert, fk.revert):
            with pytest.raises(TypeError, match="model must be a model or a layer of Keras"):
                function("model")


def _first_implementation() -> Any:
    layer = layers.LSTM(2, dropout=0.5)
    layer.cell.implementation = 1
    return layer


def _own_cell() -> Any:
    class Own(layers.LSTMCell):
        pass

    return Own(2)


def _own_loop() -> Any:
    class Loop(layers.LSTM):
        def inner_loop(self, *args: Any, **options: Any) -> Any:
            return super().inner_loop(*args, **options)

    return Loop(2)


class TestMasks:
    def test_kinds_of_numbers(self) -> None:
        rng = np.random.default_rng(0)
        valid = rng.random((3, 5)) < 0.5
        x = rng.standard_normal((3, 5, 2)).astype("float32")
        layer = layers.LSTM(4, return_sequences=True)
        expected = keras.ops.convert_to_numpy(layer(x, mask=valid))
        fk.convert(layer)
        for mask in (valid, valid.astype("int32"), valid.astype("float32"), valid[:, :, None]):
            found = keras.ops.convert_to_numpy(layer(x, mask=keras.ops.convert_to_tensor(mask)))
            np.testing.assert_allclose(found, expected, 0, 1e-6)

    def test_shape_that_does_not_fit(self) -> None:
        layer = layers.GRU(4)
        layer.build((3, 5, 2))
        fk.convert(layer)
        for shape in ((3, 4), (1, 5), (5, 3), (3,), (3, 5, 2)):
            with pytest.raises(ValueError, match=r"mask must have shape \(batch, time\) = \(3, 5"):
                layer(np.ones((3, 5, 2), "float32"), mask=np.ones(shape, "bool"))

    def test_nothing_at_masked_steps_is_seen(self) -> None:
        valid = np.array([[True, False, True, False], [False, True, False, False]])
        x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
        layer = layers.Bidirectional(layers.LSTM(4, return_sequences=True))
        case = Case("", layer, x, valid, [np.zeros((2, 4), "float32")] * 4)
        layer.build(x.shape)
        layer.forward_layer.return_state = layer.backward_layer.return_state = True
        layer.return_state = True
        fk.convert(layer)
        expected = found_by(keras, case)
        with_nan = np.where(valid[:, :, None], x, np.float32(np.nan))
        for one, other in zip(found_by(keras, case._replace(x=with_nan)), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_wrong_features_are_kerass_error() -> None:
    layer = layers.LSTM(4)
    layer.build((3, 5, 2))
    fk.convert(layer)
    with pytest.raises(Exception, match=r".") as error:
        layer(np.ones((3, 5, 7), "float32"))
    assert "fastmask" not in str(error.value)


def test_examples() -> None:
    from fastmask.keras import _convert, _loop, _wanted

    for module in (_convert, _loop, _wanted):
        failed, attempted = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
        assert attempted
        assert not failed
