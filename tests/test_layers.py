"""The layer base and the small layers: masks made, carried and dropped; weights; errors."""

# ruff: noqa: ARG002  custom layers take arguments because layers are called with them

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import activations, initializers

X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
MASK = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]], bool)


class Recorder(fm.layers.Layer):
    """Passes masks on, and remembers what it was called with."""

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
        with warnings.catch_warnings():
            warnings.simplefilter("error")
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


class TestWeights:
    class Scale(fm.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.moved = self.add_weight((1,), "zeros", trainable=False, name="moved")
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

        def call(self, inputs: Any) -> Any:
            return inputs * self.scale + self.moved

    def test_order_and_setting(self) -> None:
        layer = self.Scale()
        np.testing.assert_array_equal(layer(X), X)
        assert [w.shape for w in layer.get_weights()] == [(2,), (1,)]
        layer.set_weights([[2, 3], [1]])
        np.testing.assert_array_equal(layer(X), X * np.float32([2, 3]) + 1)
        assert layer.count_params() == 3

    def test_shape_that_is_none(self) -> None:
        with pytest.raises(TypeError, match="shape of a weight must be a tuple of sizes, not 3"):
            Dropper().add_weight(3)  # type: ignore[arg-type]  # on purpose

    def test_cannot_be_replaced_unseen(self) -> None:
        layer = self.Scale()
        layer(X)
        layer.scale[...] = 3
        layer.scale += 1
        np.testing.assert_array_equal(layer(X), 4 * X)
        with pytest.raises(AttributeError, match=r"'scale' is a weight of layer .*set_weights"):
            layer.scale = np.ones(2)
        for built_in, name in (
            (fm.layers.Dense(2), "kernel"),
            (fm.layers.Embedding(3, 2), "embeddings"),
        ):
            built_in.build((None, 2))
            with pytest.raises(AttributeError, match="is a weight"):
                setattr(built_in, name, np.ones(2))

    def test_built_once(self) -> None:
        layer = self.Scale()
        assert not layer.built
        layer.build((None, 2))
        assert layer.built
        layer.build((None, 2))
        layer(X)
        assert len(layer.get_weights()) == 2

    def test_built_once_by_many_threads(self) -> None:
        layer = self.Scale()
        threads = [threading.Thread(target=layer, args=(X,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(layer.get_weights()) == 2

    def test_subclass_of_a_built_in_layer(self) -> None:
        class Biased(fm.layers.Dense):
            def build(self, input_shape: Any) -> None:
                super().build(input_shape)
                self.more = self.add_weight((1,), "ones")

            def call(self, inputs: Any) -> Any:
                return super().call(inputs) + self.more

        layer = Biased(5)
        assert layer.get_weights() == []
        assert layer(X).shape == (3, 4, 5)
        assert [w.shape for w in layer.get_weights()] == [(2, 5), (5,), (1,)]

    def test_defaults(self) -> None:
        layer = Dropper()
        assert layer.add_weight().shape == ()
        assert not layer.add_weight((2,), dtype="int64").any()
        assert layer.add_weight((2, 2)).dtype == np.float32
        with pytest.raises(ValueError, match="each size of a weight must be at least 0"):
            layer.add_weight((-1,))
        with pytest.raises(TypeError, match="each size of a weight must be an integer, not None"):
            layer.add_weight((None,))  # type: ignore[arg-type]  # on purpose
        with pytest.raises(ValueError, match="the initializer returned shape"):
            layer.add_weight((2,), initializer=lambda *_: np.zeros(3))


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


class TestMaskingOfNaN:
    X = np.array([[[1, 2], [np.nan, np.nan], [np.nan, 3], [0, 0]]], np.float32)
    VALID = np.array([[True, False, True, True]])

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_means_is_nan(self, dtype: str) -> None:
        layer = fm.layers.Masking(np.nan, dtype=dtype)
        y = layer(self.X)
        np.testing.assert_array_equal(y.mask, self.VALID)
        np.testing.assert_array_equal(layer.compute_mask(self.X), self.VALID)
        np.testing.assert_array_equal(y.data, np.where(self.VALID[:, :, None], self.X, 0))

    def test_never_floods_the_output(self) -> None:
        whole = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)
        x = whole.copy()
        x[1, 2:] = x[2] = np.nan
        model = fm.Sequential([fm.layers.Masking(float("nan")), fm.layers.LSTM(3)])
        y = model(x)
        assert np.isfinite(y).all()
        np.testing.assert_allclose(y[1], model(whole[1:2, :2])[0], atol=1e-6)
        assert not y[2].any()
        mean = fm.layers.GlobalAveragePooling1D()(fm.layers.Masking(np.nan)(x))
        np.testing.assert_allclose(mean[1], whole[1, :2].mean(0), atol=1e-6)

    def test_of_integers_and_in_files(self, tmp_path: Path) -> None:
        assert fm.layers.Masking(np.nan)(np.zeros((1, 2, 3), int)).mask.all()
        model = fm.Sequential([fm.layers.Masking(np.nan)])
        model(self.X)
        fm.save_model(model, tmp_path / "a.npz")
        y = fm.load_model(tmp_path / "a.npz")(self.X)
        np.testing.assert_array_equal(y.mask, self.VALID)


class TestEmbedding:
    def test_looks_up(self) -> None:
        layer = fm.layers.Embedding(5, 3)
        ids = np.array([[4, 0, 1], [2, 2, 3]])
        y = layer(ids)
        (table,) = layer.get_weights()
        np.testing.assert_array_equal(y, table[ids])
        assert y.dtype == np.float32
        assert layer(np.int64(3)).shape == (3,)
        assert layer(np.zeros((2, 3, 4), int)).shape == (2, 3, 4, 3)

    @pytest.mark.parametrize(
        "dtype", ["i1", "u1", "i2", "i4", "i8", "u8", ">i4", "f4", "f8", "f2", "?"]
    )
    def test_ids_of_any_dtype(self, dtype: str) -> None:
        ids = np.array([[1, 0, 1]]).astype(dtype)
        layer = fm.layers.Embedding(5, 3, mask_zero=True)
        y = layer(ids)
        np.testing.assert_array_equal(y.data, layer.get_weights()[0][[[1, 0, 1]]])
        assert y.mask.valid.tolist() == [[True, False, True]]

    def test_mask(self) -> None:
        ids = [[7, 0, 2], [0, 0, 0]]
        layer = fm.layers.Embedding(10, 3, mask_zero=True)
        y = layer(ids)
        assert y.mask.valid.tolist() == [[True, False, True], [False] * 3]
        np.testing.assert_array_equal(y.data[1, 0], layer.get_weights()[0][0])
        np.testing.assert_array_equal(np.asarray(layer.compute_mask(np.array(ids))), y.mask.valid)
        assert fm.layers.Embedding(10, 3).compute_mask(np.array(ids)) is None

    def test_mask_of_the_ids(self) -> None:
        ids = fm.Masked(np.array([[1, 0, 2]]), [[1, 1, 0]])
        with pytest.warns(UserWarning, match="destroy the mask information"):
            assert fm.get_mask(fm.layers.Embedding(10, 3)(ids)) is None
        made = fm.layers.Embedding(10, 3, mask_zero=True)(ids)
        assert made.mask.valid.tolist() == [[True, False, True]]

    @pytest.mark.parametrize(
        ("ids", "error", "words"),
        [
            ([[1, 5]], ValueError, r"'emb' must be ids from 0 to 4, but one is 5"),
            ([[1, -1]], ValueError, r"'emb' must be ids from 0 to 4, but one is -1"),
            ([[1.5]], ValueError, "inputs must hold integers, but it holds 1.5"),
            ([[np.nan]], ValueError, "inputs must hold integers, but it holds nan"),
            ([[np.inf]], ValueError, "inputs must hold integers, but it holds inf"),
            ([[1e300]], ValueError, "inputs must hold integers, but it holds 1e"),
            ([[2.0**63]], ValueError, r"inputs must hold integers, but it holds 9\.22"),
            ([["a"]], TypeError, "inputs must hold integers, not dtype <U1"),
            (np.array([[None]]), TypeError, "inputs must hold integers, not dtype object"),
            ([[1], [1, 2]], ValueError, "inputs must be an array, but its rows differ"),
            (np.array([[2**63]], np.uint64), ValueError, "more than int64 can hold"),
        ],
    )
    def test_refuses(self, ids: Any, error: type[Exception], words: str) -> None:
        layer = fm.layers.Embedding(5, 3, name="emb")
        with pytest.raises(error, match=words):
            layer(ids)

    def test_refuses_shapes_without_a_mask(self) -> None:
        with pytest.raises(ValueError, match=r"must have shape \(batch, time\) to make a mask"):
            fm.layers.Embedding(5, 3, mask_zero=True)([1, 2])

    def test_empty(self) -> None:
        y = fm.layers.Embedding(5, 3, mask_zero=True)(np.zeros((0, 4), int))
        assert y.shape == (0, 4, 3)

    def test_refuses_options(self) -> None:
        with pytest.raises(ValueError, match="input_dim must be at least 1, not 0"):
            fm.layers.Embedding(0, 3)
        with pytest.raises(TypeError, match="output_dim must be an integer"):
            fm.layers.Embedding(3, 2.5)  # type: ignore[arg-type]  # on purpose


class TestMasking:
    @pytest.mark.parametrize("value", [0.0, -1.0, 0.1, 7])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
    def test_mask_and_data(self, value: float, dtype: type) -> None:
        x = np.where(MASK[:, :, None], 3, value).astype(dtype)
        y = fm.layers.Masking(value)(x)
        hidden = MASK if dtype(value) == value or dtype is np.float32 else MASK | True
        np.testing.assert_array_equal(y.mask.valid, hidden)
        np.testing.assert_array_equal(y.data, np.where(hidden[:, :, None], x, 0))
        assert y.dtype == (np.int32 if dtype is np.int32 else np.float32)

    def test_one_feature_is_enough(self) -> None:
        y = fm.layers.Masking()([[[0.0, 1.0], [0.0, 0.0], [0.0, -0.0], [np.nan, 0.0]]])
        assert y.mask.valid.tolist() == [[True, False, False, True]]

    def test_ignores_a_mask(self) -> None:
        y = fm.layers.Masking()(fm.Masked(np.ones((3, 4, 2)), MASK))
        assert y.mask.valid.all()

    def test_compute_mask(self) -> None:
        layer = fm.layers.Masking()
        x = np.where(MASK[:, :, None], X, 0)
        np.testing.assert_array_equal(np.asarray(layer.compute_mask(x)), MASK)

    def test_empty(self) -> None:
        assert fm.layers.Masking()(np.zeros((0, 4, 2))).mask.shape == (0, 4)
        assert not fm.layers.Masking()(np.zeros((2, 3, 0))).mask.valid.any()

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match=r"must have shape .*not \(2, 3\)"):
            fm.layers.Masking()(np.zeros((2, 3)))
        with pytest.raises(TypeError, match="inputs must hold real numbers, not dtype object"):
            fm.layers.Masking()(X.astype(object))
        with pytest.raises(TypeError, match="mask_value must be a number, not 'a'"):
            fm.layers.Masking("a")  # type: ignore[arg-type]  # on purpose


class TestDense:
    @pytest.mark.parametrize("shape", [(3, 2), (3, 4, 2), (3, 4, 5, 2), (0, 2), (3, 0, 2)])
    def test_computes(self, shape: tuple[int, ...]) -> None:
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        layer = fm.layers.Dense(6, activation="relu")
        y = layer(x)
        kernel, bias = layer.get_weights()
        np.testing.assert_allclose(y, np.maximum(x @ kernel + bias, 0), atol=1e-6)
        assert y.dtype == np.float32

    def test_without_bias(self) -> None:
        layer = fm.layers.Dense(6, use_bias=False)
        np.testing.assert_allclose(layer(X), X @ layer.get_weights()[0], atol=1e-6)

    def test_passes_the_mask_on(self) -> None:
        x = fm.Masked(X, MASK)
        assert fm.layers.Dense(6)(x).mask is x.mask

    def test_layouts(self) -> None:
        layer = fm.layers.Dense(3)
        expected = layer(X)
        for x in (np.asfortranarray(X), X.astype(">f4"), X.repeat(2, axis=0)[::2]):
            np.testing.assert_array_equal(layer(x), expected)
        np.testing.assert_allclose(layer(np.ones((2, 2), int)), layer(np.ones((2, 2))))

    def test_refuses(self) -> None:
        layer = fm.layers.Dense(3, name="out")
        layer.build((None, 2))
        with pytest.raises(ValueError, match=r"'out' must have shape \(batch, ..., 2\), not"):
            layer(np.ones((2, 3)))
        with pytest.raises(ValueError, match=r"not \(2,\)"):
            layer(np.ones(2))
        with pytest.raises(TypeError, match="not dtype object"):
            layer(np.ones((2, 2), object))
        with pytest.raises(ValueError, match="input_shape must be"):
            fm.layers.Dense(3).build((None, None))
        with pytest.raises(ValueError, match="activation must be one of"):
            fm.layers.Dense(3, activation="no")


class TestActivation:
    def test_passes_the_mask_on(self) -> None:
        x = fm.Masked(X, MASK)
        y = fm.layers.Activation("tanh")(x)
        assert y.mask is x.mask
        np.testing.assert_allclose(y.data, np.tanh(X), atol=1e-6)

    def test_takes_functions(self) -> None:
        np.testing.assert_array_equal(fm.layers.Activation(np.negative)(X), -X)
        np.testing.assert_array_equal(fm.layers.Activation(None)(X), X)
        assert fm.layers.Activation(activations.relu).get_config()["activation"] == "relu"

    def test_known_values(self) -> None:
        x = np.float32([[-4, -1, -0.0, 0.5, 4, 8]])
        known = {
            "relu": [0, 0, 0, 0.5, 4, 8],
            "relu6": [0, 0, 0, 0.5, 4, 6],
            "leaky_relu": [-0.8, -0.2, 0, 0.5, 4, 8],
            "hard_sigmoid": [0, 1 / 3, 0.5, 3.5 / 6, 1, 1],
            "sigmoid": [0.01798621, 0.26894142, 0.5, 0.62245933, 0.98201379, 0.99966465],
            "elu": [-0.98168436, -0.63212056, 0, 0.5, 4, 8],
            "selu": [-1.72589862, -1.11133074, 0, 0.52535049, 4.20280395, 8.40560790],
            "gelu": [-1.2668496e-4, -0.15865525, 0, 0.34573123, 3.99987332, 8],
            "softplus": [0.01814993, 0.31326169, 0.69314718, 0.97407698, 4.01814993, 8.00033541],
            "silu": [-0.07194484, -0.26894142, 0, 0.31122967, 3.92805516, 7.99731720],
        }
        for name, expected in known.items():
            y = fm.layers.Activation(name)(x)
            np.testing.assert_allclose(y[0], expected, atol=1e-6, err_msg=name)
            assert y.dtype == np.float32

    @pytest.mark.parametrize("name", sorted(activations._BY_NAME))
    def test_extremes_and_dtypes(self, name: str) -> None:
        x = np.array([[-1e4, -90.0, -1e-9, 0.0, 1e-9, 90.0, 1e4]])
        function = activations.get(name)
        with np.errstate(over="ignore" if name == "exponential" else "warn"):
            assert not np.isnan(function(x)).any()
            assert function(x.astype(np.float32)).dtype == np.float32
            assert function(x[:0]).shape == (0, 7)

    def test_softmax_rows_sum_to_one(self) -> None:
        y = fm.layers.Activation("softmax")(X * 100)
        np.testing.assert_allclose(y.sum(axis=-1), 1, atol=1e-6)


class TestInitializers:
    @pytest.mark.parametrize(
        "initializer",
        [
            initializers.RandomUniform(seed=3),
            initializers.RandomNormal(stddev=2.0, seed=3),
            initializers.GlorotUniform(seed=3),
            initializers.Orthogonal(seed=3),
            initializers.Constant(0.5),
        ],
    )
    def test_repeats_and_survives_its_config(self, initializer: Any) -> None:
        first = initializer((4, 6), "float32")
        assert first.shape == (4, 6)
        assert first.dtype == np.float32
        again = initializers.get(initializer.get_config())
        np.testing.assert_array_equal(again((4, 6), "float32"), first)

    def test_without_a_seed_it_differs(self) -> None:
        make = initializers.get("glorot_uniform")
        assert (make((4, 4)) != make((4, 4))).any()

    @pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (2, 3, 4)])
    def test_orthogonal(self, shape: tuple[int, ...]) -> None:
        q = initializers.Orthogonal(seed=1)(shape, "float64").reshape(-1, shape[-1])
        product = q @ q.T if q.shape[0] < q.shape[1] else q.T @ q
        np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match="initializer must be one of zeros, ones"):
            initializers.get("glorot")
        with pytest.raises(ValueError, match="not 'Evil'"):
            initializers.get({"class": "Evil"})
        with pytest.raises(TypeError, match="initializer must be a name or a function, not 3"):
            initializers.get(3)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(ValueError, match="two axes or more"):
            initializers.Orthogonal()((3,))


@pytest.mark.optional
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
class TestAgainstKeras:
    """The small layers beside Keras, where it is installed."""

    @pytest.fixture(autouse=True)
    def _keras(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        pytest.importorskip("torch", reason="torch is not installed")
        self.keras = pytest.importorskip("keras", reason="keras is not installed")

    def both(self, ours: fm.layers.Layer, theirs: Any, x: Any) -> tuple[Any, Any]:
        theirs.build(x.shape)
        ours.build(x.shape)
        ours.set_weights(theirs.get_weights())
        return ours(x), theirs(self.keras.ops.convert_to_tensor(x))

    def test_dense(self) -> None:
        for name in sorted(activations._BY_NAME):
            layer = self.keras.layers.Dense(5, activation=name)
            ours, theirs = self.both(fm.layers.Dense(5, activation=name), layer, X)
            theirs = theirs.detach().numpy()
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=name)

    @pytest.mark.parametrize("value", [0.0, -1.0])
    def test_masking(self, value: float) -> None:
        x = np.where(MASK[:, :, None], X, np.float32(value))
        ours, theirs = self.both(fm.layers.Masking(value), self.keras.layers.Masking(value), x)
        np.testing.assert_array_equal(ours.data, theirs.numpy())
        np.testing.assert_array_equal(ours.mask.valid, theirs._keras_mask.numpy())

    def test_embedding(self) -> None:
        ids = np.random.default_rng(0).integers(0, 5, (4, 6))
        ours, theirs = self.both(
            fm.layers.Embedding(5, 3, mask_zero=True),
            self.keras.layers.Embedding(5, 3, mask_zero=True),
            ids,
        )
        np.testing.assert_array_equal(ours.data, theirs.detach().numpy())
        np.testing.assert_array_equal(ours.mask.valid, theirs._keras_mask.numpy())


def test_layers_deep_in_containers_are_found() -> None:
    class Nested(fm.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.lists = [[fm.layers.Dense(2)]]
            self.dicts = {"k": [fm.layers.Dense(3)]}

        def call(self, inputs: Any) -> Any:
            return self.dicts["k"][0](self.lists[0][0](inputs))

    layer = Nested()
    layer(np.ones((1, 3)))
    assert [w.shape for w in layer.get_weights()] == [(3, 2), (2,), (2, 3), (3,)]


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
