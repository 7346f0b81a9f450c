"""Custom layers: the arguments of `call`, and what happens to masks."""

# ruff: noqa: ARG002  custom layers take arguments because layers are called with them

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm

X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
MASK = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]], bool)


class Recorder(fm.layers.Layer):
    """Passes masks on, and records its arguments."""

    supports_masking = True

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        self.seen = (inputs, mask, training)
        return inputs


class Dropper(fm.layers.Layer):
    """Says nothing about masks."""

    def call(self, inputs: Any) -> Any:
        return inputs


class TemporalSplit(fm.layers.Layer):
    """The guide's layer with two outputs, each with its own mask."""

    def call(self, inputs: Any) -> Any:
        return np.split(inputs, 2, axis=1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None if mask is None else np.split(mask, 2, axis=1)


class Sum(fm.layers.Layer):
    """Several inputs; its mask is the union."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        self.seen = mask
        return inputs[0] + inputs[1]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None if mask is None or None in [type(m) for m in mask] else mask[0] | mask[1]


class TestCustomLayers:
    def test_gets_plain_arrays(self) -> None:
        layer = Recorder()
        y = layer(fm.Masked(X, MASK), training=True)
        inputs, mask, training = layer.seen
        assert type(inputs) is np.ndarray
        assert type(mask) is np.ndarray
        assert mask.dtype == np.bool_
        assert training is True
        np.testing.assert_array_equal(mask, MASK)
        assert y.data is X

    def test_gets_no_mask_where_there_is_none(self) -> None:
        layer = Recorder()
        assert isinstance(layer(X), np.ndarray)
        assert layer.seen[1:] == (None, False)

    def test_explicit_mask_beats_the_carried_one(self) -> None:
        layer = Recorder()
        y = layer(fm.Masked(X, ~MASK), mask=MASK.tolist())
        np.testing.assert_array_equal(layer.seen[1], MASK)
        np.testing.assert_array_equal(y.mask.valid, MASK)

    def test_mask_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"mask has shape \(4, 3\).*'rec' has shape \(3, 4, 2"):
            Recorder(name="rec")(X, mask=MASK.T)

    def test_passing_a_mask_on_copies_nothing(self) -> None:
        x = fm.Masked(X, MASK)
        y = x
        for _ in range(20):
            y = Recorder()(y)
        assert y.mask is x.mask
        assert y.data is x.data

    def test_destroying_a_mask_warns_once(self) -> None:
        layer = Dropper(name="flat")
        sentence = (
            "Layer 'flat' (of type Dropper) was passed an input with a mask attached to it. "
            "However, this layer does not support masking and will therefore destroy the mask "
            "information."
        )
        with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$") as caught:
            y = layer(fm.Masked(X, MASK))
        assert caught[0].filename == __file__
        assert isinstance(y, np.ndarray)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            layer(fm.Masked(X, MASK))
            Dropper()(X)

    def test_warnings_point_at_the_first_line_outside(self) -> None:
        x = fm.Masked(X, MASK)
        masked = fm.layers.Masking()(fm.Input((4, 2)))
        calls: list[Callable[[], Any]] = [
            lambda: Dropper()(x),
            lambda: fm.Sequential([fm.Sequential([Dropper()])])(x),
            lambda: fm.layers.Flatten()(x),
            lambda: fm.layers.Embedding(9, 2)(fm.Masked(MASK.astype(int), MASK)),
            lambda: fm.layers.Add()([x, X]),
            lambda: fm.layers.Lambda(np.tanh)(x),
            lambda: Dropper()(masked),
            lambda: fm.layers.Dot(2)([masked, masked]),
            lambda: fm.Sequential([Dropper()]).predict(x, verbose=0),
            lambda: fm.trace_masks(fm.Sequential([Dropper()]), x),
        ]
        for call in calls:
            with pytest.warns(UserWarning, match="destroy the mask") as caught:
                call()
            assert {(one.filename, one.lineno) for one in caught} == {
                (__file__, call.__code__.co_firstlineno)
            }

    def test_several_outputs(self) -> None:
        first, second = TemporalSplit()(fm.Masked(X, MASK))
        np.testing.assert_array_equal(first.data, X[:, :2])
        np.testing.assert_array_equal(first.mask.valid, MASK[:, :2])
        np.testing.assert_array_equal(second.mask.valid, MASK[:, 2:])
        assert all(isinstance(y, np.ndarray) for y in TemporalSplit()(X))

    def test_one_mask_for_several_outputs(self) -> None:
        class Twice(fm.layers.Layer):
            supports_masking = True

            def call(self, inputs: Any) -> Any:
                return inputs, 2 * inputs

        x = fm.Masked(X, MASK)
        outputs = Twice()(x)
        assert isinstance(outputs, tuple)
        assert all(y.mask is x.mask for y in outputs)

    def test_several_inputs(self) -> None:
        layer = Sum()
        y = layer([fm.Masked(X, MASK), fm.Masked(X, ~MASK)])
        assert [m.dtype for m in layer.seen] == [np.bool_] * 2
        np.testing.assert_array_equal(y.data, 2 * X)
        assert y.mask.valid.all()
        assert isinstance(layer([X, X]), np.ndarray)
        assert layer.seen is None
        y = layer([X, X], mask=[MASK, MASK])
        np.testing.assert_array_equal(y.mask.valid, MASK)
        with pytest.raises(ValueError, match="mask must be a list with one mask for each of 2"):
            layer([X, X], mask=MASK)
        with pytest.raises(ValueError, match="number 1, has shape"):
            layer([X, X], mask=[None, MASK[:2]])

    def test_several_inputs_without_a_compute_mask(self) -> None:
        class Add(fm.layers.Layer):
            supports_masking = True

            def call(self, inputs: Any) -> Any:
                return inputs[0] + inputs[1]

        for mask in ([MASK, MASK], [None, MASK], [MASK, None]):
            np.testing.assert_array_equal(Add()([X, X], mask=mask).mask.valid, MASK)
        with pytest.raises(ValueError, match="'add' have different masks: Add must define"):
            Add(name="add")([X, X], mask=[MASK, ~MASK])

    def test_several_arguments(self) -> None:
        class Attend(fm.layers.Layer):
            def call(
                self, query: Any, value: Any, query_mask: Any = None, value_mask: Any = None
            ) -> Any:
                self.seen = query_mask, value_mask
                return query

            def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
                return mask

        layer = Attend()
        y = layer(fm.Masked(X, MASK), fm.Masked(X, ~MASK))
        np.testing.assert_array_equal(layer.seen[0], MASK)
        np.testing.assert_array_equal(layer.seen[1], ~MASK)
        np.testing.assert_array_equal(y.mask.valid, MASK)
        layer(X, value=fm.Masked(X, MASK))
        assert layer.seen[0] is None
        np.testing.assert_array_equal(layer.seen[1], MASK)
        layer(X, fm.Masked(X, MASK), value_mask=(~MASK).tolist())
        assert layer.seen[1].dtype == np.bool_
        np.testing.assert_array_equal(layer.seen[1], ~MASK)
        y = layer(fm.Masked(X, MASK), X, query_mask=~MASK)
        assert layer.seen[1] is None
        np.testing.assert_array_equal(layer.seen[0], ~MASK)
        np.testing.assert_array_equal(y.mask.valid, ~MASK)
        with pytest.raises(TypeError, match="takes at most 4 arguments, not 7"):
            layer(X, X, X, X, X, X, X)

    def test_arguments_by_position(self) -> None:
        layer = fm.layers.LSTM(3)
        state = [np.ones((3, 3))] * 2
        expected = layer(X, mask=MASK, initial_state=state)
        np.testing.assert_array_equal(layer(X, state, MASK), expected)
        np.testing.assert_array_equal(layer(fm.Masked(X, ~MASK), state, MASK), expected)
        recorder = Recorder()
        recorder(X, MASK, True)
        assert recorder.seen[2] is True
        np.testing.assert_array_equal(recorder.seen[1], MASK)
        with pytest.raises(TypeError, match="was given 'initial_state' twice"):
            layer(X, state, initial_state=state)

    def test_compute_mask_of_another_shape(self) -> None:
        class Odd(Dropper):
            def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
                return np.ones((1, 2))

        message = r"compute_mask of layer 'odd' must .* shape \(1, 2\), but the output has shape"
        with pytest.raises(ValueError, match=message):
            Odd(name="odd")(X)
        with pytest.raises(ValueError, match=message):
            Odd(name="odd")(fm.Input((4, 2)))

    @pytest.mark.parametrize(
        "mask", [MASK[0], "mask", 5, np.ones((3, 4, 3)), np.full((3, 4), np.nan), -1.0 * MASK]
    )
    def test_compute_mask_that_returns_no_mask(self, mask: Any) -> None:
        class Odd(Dropper):
            def compute_mask(self, inputs: Any, mask: Any = mask) -> Any:
                return mask

        with pytest.raises(
            (TypeError, ValueError), match="compute_mask of layer 'odd' must return"
        ):
            Odd(name="odd")._with_mask(X, mask)

    def test_compute_mask_with_another_number(self) -> None:
        class Odd(TemporalSplit):
            def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
                return [None]

        with pytest.raises(ValueError, match="'odd' must return one mask for each of 2 outputs"):
            Odd(name="odd")(X)

    def test_sublayers_return_masked(self) -> None:
        class Reader(fm.layers.Layer):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = fm.layers.Embedding(10, 4, mask_zero=True)
                self.rnn = fm.layers.LSTM(3)

            def call(self, inputs: Any) -> Any:
                x = self.embedding(inputs)
                return self.rnn(x, mask=self.embedding.compute_mask(inputs))

        layer = Reader()
        assert layer(np.array([[1, 2, 0], [3, 0, 0]])).shape == (2, 3)
        shapes = [w.shape for w in layer.get_weights()]
        assert shapes == [(10, 4), (4, 12), (3, 12), (12,)]
        before = layer([[1, 2, 0]])
        layer.set_weights([w * 2 for w in layer.get_weights()])
        assert np.abs(layer([[1, 2, 0]]) - before).max() > 1e-3

    def test_a_masked_output_is_kept(self) -> None:
        class Wrapper(fm.layers.Layer):
            def __init__(self) -> None:
                super().__init__()
                self.masking = fm.layers.Masking()

            def call(self, inputs: Any) -> Any:
                return self.masking(inputs)

        assert isinstance(Wrapper()(X), fm.Masked)
        with pytest.warns(UserWarning, match="makes a mask of its own"):
            assert isinstance(Wrapper()(fm.Masked(X, MASK)), fm.Masked)

    def test_misuse(self) -> None:
        class NoCall(fm.layers.Layer):
            pass

        class NoInputs(fm.layers.Layer):
            def call(self) -> None:  # type: ignore[override]  # on purpose
                pass

        class NoInit(fm.layers.Layer):
            def __init__(self) -> None:
                pass

            def call(self, inputs: Any) -> Any:
                return inputs

        with pytest.raises(NotImplementedError, match=r"NoCall must define call\(self, inputs\)"):
            NoCall()(X)
        with pytest.raises(TypeError, match=r"NoInputs.call must take the inputs"):
            NoInputs()(X)
        with pytest.raises(TypeError, match=r"NoInit.__init__ must call super\(\).__init__\(\)"):
            NoInit()(X)

    def test_output_shape_is_found_by_calling(self) -> None:
        assert Dropper().compute_output_shape((None, None, 7)) == (None, None, 7)
        assert TemporalSplit().compute_output_shape((None, 6, 2)) == [(None, 3, 2)] * 2


def test_names() -> None:
    class SomeRNNLayer(Dropper):
        pass

    assert [SomeRNNLayer().name for _ in range(3)] == [
        "some_rnn_layer",
        "some_rnn_layer_1",
        "some_rnn_layer_2",
    ]
    assert SomeRNNLayer(name="mine").name == "mine"
    assert SomeRNNLayer().name == "some_rnn_layer_3"


@pytest.mark.parametrize("given", [np.float16, np.float64, ">f4", np.longdouble])
def test_float_inputs_are_cast(given: Any) -> None:
    layer = Recorder()
    assert layer(X.astype(given)).dtype == np.float32
    assert Recorder(dtype="float64")(X.astype(given)).dtype == np.float64
    assert layer(np.ones((2, 2), int)).dtype == np.dtype(int)


def test_inputs_that_are_no_arrays() -> None:
    layer = Recorder()
    assert layer([[1.0, 2.0]]).dtype == np.float32
    with pytest.raises(ValueError, match="inputs must be an array, but its rows differ"):
        layer([[1.0], [1.0, 2.0]])
    with pytest.raises(TypeError, match=r"numpy\.ma"):
        layer(np.ma.masked_array([1.0, 2.0]))


def test_training_can_be_switched_off_within_a_training_call() -> None:
    class Frozen(fm.Model):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = fm.Sequential([fm.layers.Dropout(0.5, seed=1)])
            self.trained = fm.Sequential([fm.layers.Dropout(0.5, seed=1)])

        def call(self, inputs: Any) -> Any:
            return self.frozen(inputs, training=False), self.trained(inputs)

    x = np.ones((4, 6), np.float32)
    frozen, trained = Frozen()(x, training=True)
    np.testing.assert_array_equal(frozen, x)
    assert set(trained.ravel()) == {0, 2}
