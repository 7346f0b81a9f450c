"""Symbolic tensors: shapes, masks, errors, and layers that compute shapes by a trial call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers import LSTM, Activation, Dense, Embedding, Layer, Masking

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)


class Split(Layer):
    """Two outputs, each with its own mask."""

    def call(self, inputs: Any) -> Any:
        return np.split(inputs, 2, axis=1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        return None if mask is None else np.split(mask, 2, axis=1)


class Sum(Layer):
    """Several inputs; the mask of the first."""

    def call(self, inputs: Any) -> Any:
        return inputs[0] + inputs[1]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        return None if mask is None else mask[0]


class Dropper(Layer):
    def call(self, inputs: Any) -> Any:
        return inputs + 0


class TestSymbolic:
    def test_input(self) -> None:
        x = fm.Input((None, 4), name="x")
        assert (x.shape, x.dtype, x.name, x.ndim) == ((None, None, 4), np.float32, "x", 3)
        assert fm.Input([3], dtype="int32").dtype == np.int32
        assert fm.get_mask(x) is None
        assert repr(x) == "<SymbolicTensor 'x' (None, None, 4) float32>"
        for shape in (5, "ab", (2.5,)):
            with pytest.raises(TypeError, match="shape"):
                fm.Input(shape)
        with pytest.raises(ValueError, match="each size of shape must be at least 0, not -1"):
            fm.Input((-1,))
        with pytest.raises(TypeError, match="name must be a string"):
            fm.Input((1,), name=3)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(TypeError, match="dtype must be a dtype, not 'no'"):
            fm.Input((1,), dtype="no")

    def test_shapes_and_masks(self) -> None:
        ids = fm.Input((None,), "int32")
        x = Embedding(10, 4, mask_zero=True)(ids)
        assert x.shape == (None, None, 4)
        assert fm.get_mask(x).shape == (None, None)
        assert "masked" in repr(x)
        assert "SymbolicMask" in repr(fm.get_mask(x))
        assert fm.get_mask(Activation("relu")(Dense(3)(x))) is not None
        y, h, c = LSTM(6, return_sequences=True, return_state=True)(x)
        assert (y.shape, h.shape, c.shape) == ((None, None, 6), (None, 6), (None, 6))
        assert [fm.get_mask(one) is None for one in (y, h, c)] == [False, True, True]
        assert fm.get_mask(LSTM(6)(x)) is None
        assert fm.get_mask(Masking()(fm.Input((None, 2)))) is not None
        first, second = Split()(x)
        assert first.shape == second.shape == (None, None, 4)
        assert fm.get_mask(second) is not None
        assert fm.get_mask(Split()(fm.Input((None, 2)))[0]) is None
        assert fm.get_mask(Sum()([y, Dense(6)(x)])) is not None
        plain = Dense(6)(fm.Input((None, 4)))
        assert fm.get_mask(Sum()([plain, y])) is None

    @pytest.mark.parametrize(
        ("make", "shape"),
        [
            (fm.layers.GlobalAveragePooling1D, (4,)),
            (fm.layers.GlobalMaxPooling1D, (2, 3, 4)),
            (fm.layers.UpSampling1D, (3, 3, 4)),
            (fm.layers.Cropping1D, (4,)),
            (fm.layers.ZeroPadding1D, ()),
            (fm.layers.MaxPooling1D, (4,)),
            (lambda: fm.layers.Conv1D(3, 1), (2, 3, 4)),
            (lambda: fm.layers.RepeatVector(2), (3, 3)),
            (lambda: fm.layers.Permute((2, 1)), (3, 3, 3)),
            (lambda: fm.layers.SpatialDropout1D(0.5), (4,)),
            (lambda: fm.layers.Softmax(axis=3), (3, 4)),
            (lambda: fm.layers.UnitNormalization(axis=2), (4,)),
            (lambda: fm.layers.TimeDistributed(fm.layers.RepeatVector(2)), (3, 3, 4)),
        ],
    )
    @pytest.mark.parametrize("built", [False, True])
    def test_axes_that_a_layer_does_not_take(self, make: Any, shape: Any, built: bool) -> None:
        layer = make()
        layer.built = built  # none of these needs its weights
        with pytest.raises(ValueError, match=f"'{layer.name}|'repeat_vector.* axes"):
            layer(fm.Input(shape))

    def test_a_dropped_mask_warns_when_the_layer_is_called(self) -> None:
        x = Masking()(fm.Input((None, 2)))
        dropper = Dropper(name="flat")
        with pytest.warns(UserWarning, match="Layer 'flat' .of type Dropper.*destroy the mask"):
            assert fm.get_mask(dropper(x)) is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dropper(x)

    @pytest.mark.parametrize(
        "operation",
        [
            *(lambda x: x + 1, lambda x: 1 - x, lambda x: np.exp(x), np.asarray, bool, len),
            *(lambda x: x[0], iter, lambda x: LSTM(3)(X, initial_state=[x, x])),
        ],
    )
    def test_is_no_array(self, operation: Callable[[Any], Any]) -> None:
        with pytest.raises(TypeError, match="only layers can be called on it"):
            operation(fm.Input((None, 4), name="x"))

    def test_no_mixture_with_arrays(self) -> None:
        with pytest.raises(TypeError, match="'s' must all be symbolic, or none of them: one is"):
            Sum(name="s")([fm.Input((None, 4)), X])

    def test_layers_are_built_and_wrong_inputs_refused(self) -> None:
        layer = Dense(3, name="out")
        layer(fm.Input((None, 4)))
        assert [w.shape for w in layer.get_weights()] == [(4, 3), (3,)]
        with pytest.raises(ValueError, match=r"must have shape \(batch, time, features\)"):
            LSTM(3)(fm.Input((4,)))

    def test_mask_of_another_shape(self) -> None:
        x = fm.Input((5, 4))
        for mask in (fm.get_mask(Masking()(fm.Input((6, 4)))), np.ones((2, 6))):
            with pytest.raises(ValueError, match=r"mask has shape .*6.*'r' has shape \(None, 5, 4"):
                LSTM(3, name="r")(x, mask=mask)
        with pytest.raises(ValueError, match="must return one mask for each of 2 outputs, not 1"):
            OneMask()(Masking()(x))

    def test_trying_a_layer_out_leaves_no_state(self) -> None:
        class Wrapper(Layer):
            def __init__(self) -> None:
                super().__init__()
                self.lstm = LSTM(3, stateful=True)

            def call(self, inputs: Any) -> Any:
                return self.lstm(inputs)

        wrapper = Wrapper()
        assert wrapper(fm.Input((None, 4))).shape == (None, 3)
        assert wrapper.lstm.states is None
        wrapper(X)


class OneMask(Layer):
    def call(self, inputs: Any) -> Any:
        return inputs, inputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        return [mask]
