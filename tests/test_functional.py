"""Models of a graph: symbolic tensors, masks along the graph, errors, files."""

from __future__ import annotations

import copy
import json
import pickle
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import plan as _plan
from fastmask.layers import LSTM, Activation, Dense, Embedding, Layer, Masking
from fastmask.layers._symbolic import Call, SymbolicTensor

from .test_saving import members_of, npy, write

IDS = np.array([[7, 1, 3, 0, 0], [2, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
MORE = np.array([[1, 0, 2], [0, 0, 0], [5, 5, 5]])
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


def data(y: Any) -> Any:
    return y.data if isinstance(y, fm.Masked) else y


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, fm.Masked):
        np.testing.assert_array_equal(one.mask.valid, other.mask.valid)
    np.testing.assert_array_equal(data(one), data(other))


def two_by_two() -> fm.Model:
    title, body = fm.Input((None,), "int32", name="title"), fm.Input((None,), "int32", name="body")
    embedding = Embedding(10, 4, mask_zero=True, name="words")
    y, h, c = LSTM(4, return_sequences=True, return_state=True, name="reader")(embedding(body))
    first = LSTM(4, name="start")(embedding(title), initial_state=[h, c])
    inner = fm.Sequential([Dense(4), LSTM(3, return_sequences=True)], name="inner")
    return fm.Model([title, body], [first, inner(y)], name="two")


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
        layer.built = built  # none of these has weights
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


class TestModel:
    def test_equals_its_layers_by_hand(self) -> None:
        model = two_by_two()
        first, second = model([MORE, IDS])
        words, reader = model.get_layer("words"), model.get_layer("reader")
        y, h, c = reader(words(IDS))
        same(first, model.get_layer("start")(words(MORE), initial_state=[h, c]))
        same(second, model.get_layer("inner")(y))
        np.testing.assert_array_equal(second.mask.valid, IDS != 0)

    def test_nested_lists(self) -> None:
        model = two_by_two()
        for one, other in zip(
            model([MORE.tolist(), IDS.tolist()]), model([MORE, IDS]), strict=True
        ):
            same(one, other)
        with pytest.raises(ValueError, match=r"inputs\[1\] must be an array, but its rows differ"):
            model([MORE, [[1], [1, 2]]])

    def test_layers(self) -> None:
        model = two_by_two()
        assert {layer.name for layer in model.layers} == {"words", "reader", "start", "inner"}
        assert model.layers[0].name == "words"
        assert [w.shape for w in model.get_weights()[:4]] == [(10, 4), (4, 16), (4, 16), (16,)]
        assert len(model.get_weights()) == 12
        assert model.built
        assert model.compute_output_shape([(None, 3), (2, 5)]) == [(None, 4), (2, 5, 3)]
        with pytest.raises(ValueError, match=r"must be that of a layer of 'two' .*not 'no'"):
            model.get_layer("no")

    def test_one_output_list_stays_a_list(self) -> None:
        x = fm.Input((4,))
        y = Dense(2)(x)
        assert isinstance(fm.Model([x], [y])(X[:, 0]), list)
        assert isinstance(fm.Model(x, y)(X[:, 0]), np.ndarray)
        assert isinstance(fm.Model(x, y)([X[:, 0]]), np.ndarray)
        assert fm.Model(inputs=x, outputs=y, name="m").name == "m"
        assert isinstance(fm.Model(x, (y, x))(X[:, 0]), list)

    def test_explicit_mask_of_another_tensor(self) -> None:
        x, ids = fm.Input((None, 4)), fm.Input((None,), "int32")
        mask = fm.get_mask(Embedding(10, 2, mask_zero=True)(ids))
        lstm = LSTM(3, return_sequences=True)
        model = fm.Model([x, ids], lstm(x, mask=mask))
        same(model([X, IDS]), lstm(X, mask=IDS != 0))
        raw = fm.Input((None,), "bool")
        model = fm.Model([x, raw], lstm(x, mask=raw))
        same(model([X, IDS != 0]), lstm(X, mask=IDS != 0))
        summed = Sum()([x, x], mask=[mask, None])
        assert fm.get_mask(summed) is not None
        same(fm.Model([x, ids], summed)([X, IDS]), fm.Masked(X + X, IDS != 0))

    def test_mask_of_the_inputs(self) -> None:
        x = fm.Input((None, 4))
        lstm = LSTM(3)
        model = fm.Model(x, lstm(x))
        same(model(fm.Masked(X, IDS != 0)), lstm(X, mask=IDS != 0))
        same(model(X, mask=IDS != 0), lstm(X, mask=IDS != 0))
        np.testing.assert_array_equal(
            fm.Model(x, Dense(2)(x)).compute_mask(X, mask=IDS != 0), IDS != 0
        )
        other = fm.Input((None, 2))
        model = fm.Model([x, other], [lstm(x), LSTM(2)(other)], name="m")
        with pytest.raises(ValueError, match=r"mask has shape \(3, 5\).*'m', number 1, has shape"):
            model([X, X[:, :3, :2]], mask=[None, IDS != 0])
        with pytest.raises(ValueError, match="mask must be a list with one mask for each of 2"):
            model([X, X[:, :3, :2]], mask=IDS != 0)

    def test_nests_both_ways(self) -> None:
        x = fm.Input((None, 4))
        inner = fm.Model(x, LSTM(4, return_sequences=True)(Masking()(x)))
        stack = fm.Sequential([inner, Dense(3)])
        y = fm.Input((None, 4))
        z = stack(y)
        assert fm.get_mask(z) is not None
        outer = fm.Model(y, [z, inner(inner(y))])
        padded = np.where((IDS != 0)[:, :, None], X, 0)
        one, two = outer(padded)
        same(one, stack(padded))
        same(two, inner(inner(padded)))
        assert stack.compute_output_shape((None, 5, 4)) == (None, 5, 3)

    def test_calls_each_layer_once_a_node(self) -> None:
        class Counter(Layer):
            calls = 0

            def call(self, inputs: Any) -> Any:
                Counter.calls += 1
                return inputs

        x = fm.Input((4,))
        y = Counter()(x)
        model = fm.Model(x, [Dense(1)(y), Dense(2)(y), y])
        Counter.calls = 0
        model(X[:, 0])
        assert Counter.calls == 1

    def test_from_a_tensor_in_the_middle(self) -> None:
        x = fm.Input((4,))
        middle = Dense(3)(x)
        last = Dense(2)
        model = fm.Model(middle, last(middle))
        same(model(X[:, 0, :3]), last(X[:, 0, :3]))
        assert len(model.layers) == 1

    def test_stack_plans_its_mask_once(self) -> None:
        x = fm.Input((None, 4))
        y: Any = Masking()(x)
        for _ in range(3):
            y = LSTM(4, return_sequences=True)(y)
        model = fm.Model(x, y)
        model(X)
        before = _plan.plans_made()
        model(X)
        assert _plan.plans_made() == before + 1

    def test_a_mask_passes_without_a_copy(self) -> None:
        x = fm.Input((None, 4))
        y: Any = x
        for i in range(20):
            y = (Activation("relu") if i % 2 else Dense(4))(y)
        masked = fm.Masked(X, IDS != 0)
        assert fm.Model(x, y)(masked).mask is masked.mask

    def test_deep(self) -> None:
        x = fm.Input((4,))
        y: Any = x
        for _ in range(1500):
            y = Activation(None)(y)
        model = fm.Model(x, y)
        same(model(X[:, 0]), X[:, 0])
        pickle.loads(pickle.dumps(model))  # noqa: S301 - own bytes

    def test_copies(self) -> None:
        model = two_by_two()
        for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301 - own bytes
            for one, other in zip(again([MORE, IDS]), model([MORE, IDS]), strict=True):
                same(one, other)

    def test_training_reaches_the_layers(self) -> None:
        x = fm.Input((None, 4))
        model = fm.Sequential([fm.Model(x, LSTM(4, dropout=0.5)(x))])
        assert (model(X) != model(X, training=True)).any()

    def test_weights_of_another_shape(self) -> None:
        model = two_by_two()
        weights = model.get_weights()
        model.set_weights(weights)
        weights[0] = weights[0].T
        with pytest.raises(ValueError, match=r"weights\[0\] \(embeddings\) of 'two' must have sha"):
            model.set_weights(weights)
        with pytest.raises(ValueError, match="must be 12 arrays, not 11"):
            model.set_weights(weights[1:])

    def test_subclass(self) -> None:
        class Mine(fm.Model):
            def __init__(self) -> None:
                super().__init__()
                self.stack = [Dense(4), LSTM(2)]

            def call(self, inputs: Any, mask: Any = None) -> Any:
                return self.stack[1](self.stack[0](inputs), mask=mask)

            def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
                return None

        model = Mine()
        masked = fm.Masked(X, IDS != 0)
        by_hand = model.stack[1](model.stack[0](masked))
        same(model(masked), by_hand)
        np.testing.assert_allclose(
            model.predict(masked, batch_size=2, verbose=0), by_hand, atol=1e-6
        )
        with pytest.raises(TypeError, match="Mine must define call instead"):
            fm.Model.__init__(model, fm.Input((1,)), fm.Input((1,)))


class TestRefuses:
    def test_what_is_not_symbolic(self) -> None:
        x = fm.Input((4,))
        with pytest.raises(TypeError, match=r"outputs of model 'm' must be symbolic.*not ndarray"):
            fm.Model(x, X, name="m")
        with pytest.raises(TypeError, match=r"inputs of model 'm' must be symbolic.*not Dense"):
            fm.Model(Dense(2), x, name="m")  # type: ignore[arg-type]  # on purpose
        with pytest.raises(ValueError, match="'m' must have outputs"):
            fm.Model(x, [], name="m")
        with pytest.raises(TypeError):
            fm.Model()

    def test_a_mask_of_shares_where_not_all_layers_make_their_own(self) -> None:
        x = fm.Input((None, 4))
        shares = np.full(IDS.shape, 0.5)
        assert fm.Model(x, Masking()(x))(X, mask=shares).shape == X.shape
        with pytest.raises(ValueError, match=r"where it is masked, not 0\.5"):
            fm.Model(x, [Masking()(x), LSTM(3)(x)])(X, mask=shares)

    def test_unconnected(self) -> None:
        a, b = fm.Input((4,), name="a"), fm.Input((4,), name="b")
        with pytest.raises(ValueError, match=r"output 1 \('sum'\) needs 'b', which is not among"):
            fm.Model(a, [Dense(2)(a), Sum(name="sum")([a, b])])
        with pytest.raises(ValueError, match=r"not connected: no output needs input 1 \('b'\)"):
            fm.Model([a, b], Dense(2)(a))

    def test_names(self) -> None:
        a = fm.Input((4,), name="a")
        with pytest.raises(ValueError, match="two layers of model 'm' have the same name, 'd'"):
            fm.Model(a, Dense(2, name="d")(Dense(2, name="d")(a)), name="m")
        with pytest.raises(ValueError, match="two inputs of model 'm' have the same name, 'a'"):
            fm.Model([a, fm.Input((4,), name="a")], a, name="m")
        with pytest.raises(ValueError, match=r"two inputs"):
            fm.Model([a, a], a)

    def test_numbers_and_shapes_of_inputs(self) -> None:
        model = two_by_two()
        with pytest.raises(ValueError, match=r"'two' takes a list of 2 inputs \('title', 'body'\)"):
            model(IDS)
        with pytest.raises(ValueError, match="not 3"):
            model([IDS, IDS, IDS])
        with pytest.raises(ValueError, match=r"'body' of model 'two' must have shape \(None, None"):
            model([IDS, X])
        x = fm.Input((5, 4), name="x")
        with pytest.raises(ValueError, match=r"'x' .* must have shape \(None, 5, 4\), not \(3, 4"):
            fm.Model(x, Dense(2)(x))(X[:, 1:])
        with pytest.raises(ValueError, match="takes a list of 2 inputs"):
            model(fm.Input((None,)))

    def test_circles(self) -> None:
        one, two = fm.Sequential(name="one"), fm.Sequential(name="two")
        with pytest.raises(ValueError, match="'one' cannot be put into 'one'"):
            one.add(one)
        one.add(two)
        with pytest.raises(ValueError, match="'one' cannot be put into 'two', which would contain"):
            two.add(one)
        x = fm.Input((4,))
        two.add(fm.layers.Identity())
        model = fm.Model(x, two(x), name="m")
        with pytest.raises(ValueError, match="'m' cannot be put into 'two'"):
            two.add(model)
        tensor = SymbolicTensor((None, 4), "float32", "loop")
        tensor.call = Call(Dense(4, name="d"), [tensor, x], {}, [tensor])
        with pytest.raises(ValueError, match="goes in a circle through layer 'd'"):
            fm.Model(x, tensor)

    def test_mask_of_another_shape(self) -> None:
        class Wrong(Layer):
            def call(self, inputs: Any) -> Any:
                return inputs

            def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
                return None if mask is None else np.asarray(mask)[:, 1:]

        for use in (
            lambda: Wrong(name="w")(fm.Masked(X, IDS != 0)),
            lambda: Wrong(name="w")(Masking()(fm.Input((None, 4)))),
        ):
            with pytest.raises(
                ValueError, match=r"compute_mask of layer 'w' must .* mask has shape"
            ):
                use()

    def test_another_number_of_outputs_than_it_said(self) -> None:
        class Moody(Layer):
            many = True

            def call(self, inputs: Any) -> Any:
                return [inputs, inputs] if self.many else inputs

        x = fm.Input((4,))
        layer = Moody(name="moody")
        model = fm.Model(x, layer(x))
        layer.many = False
        with pytest.raises(ValueError, match="'moody' must return 2 outputs, as when"):
            model(X[:, 0])


class TestSummary:
    def test_functional(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows = two_by_two().summary()
        assert capsys.readouterr().out == f"{rows}\n"
        assert [(row.layer, row.mask) for row in rows if row.layer != "words"] == [
            ("reader", "used, kept"),
            ("start", "used"),
            *(
                (row.layer, word)
                for row, word in zip(rows[-2:], ("kept", "used, kept"), strict=True)
            ),
        ]
        assert rows[-1].layer.startswith("inner/lstm")
        assert rows[-1].shape == (None, None, 3)
        assert rows[1].parameters == 40

    def test_sequential(self) -> None:
        model = fm.Sequential([Masking(), Split(), Sum(), LSTM(3)], name="s")
        assert [row.mask for row in model.summary()] == ["?"] * 4
        model(X[:, :4])
        rows = model.summary()
        assert [row.mask for row in rows] == ["made", "changed", "kept", "used"]
        assert rows[1].shape == [(None, 2, 4)] * 2
        assert "Split" in str(rows)


def test_layers_stand_by_their_longest_way_to_an_output() -> None:
    x = fm.Input((2,))
    start = Dense(2, name="start")(x)
    short, deep = Dense(2, name="short")(start), start
    for name in ("first", "second", "third"):
        deep = Dense(2, name=name)(deep)
    for outputs, last in (([short, deep], ["short", "third"]), ([deep, short], ["third", "short"])):
        names = [one.name for one in fm.Model(x, outputs).layers]
        assert names == ["start", "first", "second", *last]


@pytest.mark.optional
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
def test_equals_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs, and the order of the layers and so of the weights."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("torch", reason="torch is not installed")
    keras = pytest.importorskip("keras", reason="keras is not installed")
    if tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 16):
        pytest.skip("one recurrent layer gives its mask to the next one, as in Keras up to 3.15")

    def build(package: Any) -> Any:
        layers = package.layers
        a, b = (package.Input((None,), dtype="int32", name=name) for name in "ab")
        embed = layers.Embedding(20, 4, mask_zero=True, name="embed")
        first = layers.LSTM(4, return_sequences=True, name="first")(embed(a))
        dense = layers.Dense(3, name="dense")(layers.LSTM(5, name="second")(first))
        side = layers.LSTM(5, name="side")(embed(b))
        added = layers.Add(name="sum")([layers.Dense(3, name="other")(side), dense])
        shared = layers.Dense(3, name="shared")
        return package.Model([a, b], [shared(added), shared(dense), side])

    ours, theirs = build(fm), build(keras)
    names = [one.name for one in theirs.layers if one.name not in ("a", "b")]
    assert [one.name for one in ours.layers] == names
    ours.set_weights(theirs.get_weights())
    random = np.random.default_rng(0)
    inputs = [random.integers(0, 20, (3, 6)), random.integers(0, 20, (3, 4))]
    for one, other in zip(ours(inputs), theirs(inputs), strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), atol=1e-5)


class TestFiles:
    def test_go_round(self, tmp_path: Path) -> None:
        model = two_by_two()
        path = tmp_path / "a.npz"
        fm.save_model(model, path)
        again = fm.load_model(path)
        assert type(again) is type(model)
        assert again.get_config() == model.get_config()
        for one, other in zip(again([MORE, IDS]), model([MORE, IDS]), strict=True):
            same(one, other)
        outer = fm.Sequential([fm.load_model(path)])
        fm.save_model(outer, path)
        for one, other in zip(fm.load_model(path)([MORE, IDS]), model([MORE, IDS]), strict=True):
            same(one, other)

    def test_masks_and_options(self, tmp_path: Path) -> None:
        x, ids = fm.Input((None, 4)), fm.Input((None,), "int32")
        embedded = Embedding(10, 2, mask_zero=True)(ids)
        y = LSTM(3)(x, mask=fm.get_mask(embedded), training=False)
        model = fm.Model([x, ids], [y, embedded])
        fm.save_model(model, tmp_path / "a.npz")
        for one, other in zip(
            fm.load_model(tmp_path / "a.npz")([X, IDS]), model([X, IDS]), strict=True
        ):
            same(one, other)
        constant = fm.Model(x, LSTM(3)(x, mask=np.ones((3, 5))))
        with pytest.raises(ValueError, match="cannot be saved"):
            fm.save_model(constant, tmp_path / "b.npz")

    HOSTILE: dict[str, Callable[[Any], Any]] = {  # noqa: RUF012 - never changed
        "later value": lambda c: c["steps"][0].update(inputs={"value": 2}),
        "own value": lambda c: c["steps"][1].update(inputs={"value": 3}),
        "negative value": lambda c: c["steps"][0].update(inputs={"value": -1}),
        "value a float": lambda c: c["steps"][0].update(inputs={"value": 0.0}),
        "value a bool": lambda c: c["steps"][0].update(inputs={"value": True}),
        "other part": lambda c: c["steps"][0].update(inputs={"__class__": 0}),
        "two parts": lambda c: c["steps"][0].update(inputs={"value": 0, "mask": 0}),
        "no value": lambda c: c["steps"][0].update(inputs={}),
        "constant": lambda c: c["steps"][0].update(inputs=3),
        "no inputs of a step": lambda c: c["steps"][0].update(inputs=[]),
        "layer too many": lambda c: c["steps"][0].update(layer=99),
        "layer a string": lambda c: c["steps"][0].update(layer="words"),
        "step without layer": lambda c: c["steps"][0].pop("layer"),
        "step with more": lambda c: c["steps"][0].update(code="1"),
        "step a list": lambda c: c["steps"].append([]),
        "steps a string": lambda c: c.update(steps="abc"),
        "no steps": lambda c: c.update(steps=[]),
        "options a list": lambda c: c["steps"][0].update(options=[]),
        "endless outputs": lambda c: c["steps"][0].update(outputs=10**12),
        "other numbers of outputs": lambda c: c["steps"][0].update(outputs=[3]),
        "outputs nested": lambda c: c["steps"][0].update(outputs=[[2]]),
        "no outputs of a step": lambda c: c["steps"][0].update(outputs=[]),
        "outputs missing": lambda c: c.pop("outputs"),
        "outputs nothing": lambda c: c.update(outputs=[]),
        "outputs too far": lambda c: c.update(outputs={"value": 100}),
        "outputs deep": lambda c: c.update(outputs=json.loads("[" * 900 + "]" * 900)),
        "inputs a number": lambda c: c.update(inputs=3),
        "input a list": lambda c: c.update(inputs=[[]]),
        "input shape a string": lambda c: c["inputs"][0].update(shape="abc"),
        "input shape long": lambda c: c["inputs"][0].update(shape=[1] * 1000),
        "input dtype code": lambda c: c["inputs"][0].update(dtype="O"),
        "input dtype unknown": lambda c: c["inputs"][0].update(dtype="no"),
        "input name a list": lambda c: c["inputs"][0].update(name=[1]),
        "layers missing": lambda c: c.pop("layers"),
        "layer without a step": lambda c: c["layers"].append(c["layers"][0]),
        "name a number": lambda c: c.update(name=3),
        "extra key": lambda c: c.update(more=3),
        "build shape of a model": lambda c: next(
            layer for layer in c["layers"] if layer["class"] == "Sequential"
        ).update(build_shape=[None, None, 4]),
    }

    def test_files_of_before_say_whether_a_layer_has_many_outputs(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        model = two_by_two()
        fm.save_model(model, path)
        members = members_of(path)
        config = json.loads(members["config.npy"][128:])
        for step in config["model"]["config"]["steps"]:
            step["many"] = False
        members["config.npy"] = npy(np.frombuffer(json.dumps(config).encode(), np.uint8))
        write(path, members)
        for weight, same in zip(model.weights, fm.load_model(path).weights, strict=True):
            np.testing.assert_array_equal(weight, same)

    @pytest.mark.parametrize("edit", HOSTILE.values(), ids=HOSTILE)
    def test_hostile(self, edit: Callable[[Any], Any], tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        fm.save_model(two_by_two(), path)
        members = members_of(path)
        config = json.loads(members["config.npy"][128:])
        edit(config["model"]["config"])
        members["config.npy"] = npy(np.frombuffer(json.dumps(config).encode(), np.uint8))
        write(path, members)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=r"is not a model that can be read: .+"):
                fm.load_model(path)
            assert tracemalloc.get_traced_memory()[1] < 5e6
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("make", "shape", "other"),
    [
        (lambda: fm.layers.Dense(2), (None, 5), (6,)),
        (lambda: fm.layers.LSTM(2), (None, 4, 5), (4, 6)),
        (lambda: fm.layers.Bidirectional(fm.layers.GRU(2)), (None, 4, 5), (None, 6)),
        (lambda: fm.layers.RNN([fm.layers.GRUCell(2)]), (None, 4, 5), (4, 6)),
        (lambda: fm.layers.TimeDistributed(fm.layers.Dense(2)), (None, 4, 5), (4, 6)),
        (lambda: fm.layers.LayerNormalization(), (None, 5), (6,)),
        (lambda: fm.layers.GroupNormalization(-1), (None, 4, 5), (4, 6)),
        (lambda: fm.layers.BatchNormalization(), (None, 5), (6,)),
        (lambda: fm.layers.Normalization(), (None, 5), (6,)),
        (lambda: fm.layers.PReLU(), (None, 5), (6,)),
    ],
)
def test_layers_built_for_one_width_refuse_another(make: Any, shape: Any, other: Any) -> None:
    for use in (lambda layer: layer(fm.Input(other)), lambda layer: layer.build((None, *other))):
        layer = make()
        layer.build(shape)
        with pytest.raises(ValueError, match=r"inputs of layer .* must"):
            use(layer)
        layer.build(shape)
        open_sizes = [None if n == 4 else n for n in shape[1:]]
        assert layer(fm.Input(open_sizes)).ndim >= 2
    model = fm.Sequential([fm.layers.Dense(2)])
    model.build((None, 5))
    with pytest.raises(ValueError, match="must have shape"):
        model(fm.Input((6,)))
