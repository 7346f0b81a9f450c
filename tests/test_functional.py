"""Functional models: symbolic tensors, masks along the graph, errors, files."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import plan as _plan
from fastmask.layers import LSTM, Activation, Concatenate, Dense, Embedding, Layer, Masking

from .graph_models import IDS, MORE, same, two_by_two

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


class TestModel:
    def test_equals_its_layers_by_hand(self) -> None:
        model = two_by_two()
        first, second = model([MORE, IDS])
        words, reader = model.get_layer("words"), model.get_layer("reader")
        y, h, c = reader(words(IDS))
        expected = model.get_layer("start")(words(MORE), initial_state=[h, c])
        np.testing.assert_allclose(first, expected, atol=1e-6)
        np.testing.assert_allclose(second.data, model.get_layer("inner")(y).data, atol=1e-6)
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

    def test_inputs(self) -> None:
        ids, x = fm.Input((None,), "int32", name="ids"), fm.Input((4,), name="x")
        y = Concatenate()([LSTM(2)(Embedding(10, 3)(ids)), x])
        model = fm.Model([ids, x], y)
        assert model.input_names == ["ids", "x"]
        assert [(one.name, one.shape, one.dtype) for one in model.inputs] == [
            ("ids", (None, None), np.int32),
            ("x", (None, 4), np.float32),
        ]
        named = fm.Model({"words": ids, "more": x}, y)
        assert named.input_names == ["words", "more"] == [one.name for one in named.inputs]
        assert named.summary().inputs == "inputs: words (None, None) int32, more (None, 4) float32"
        with pytest.raises(ValueError, match=r"2 inputs \('words', 'more'\) for model .* not 3"):
            named.predict([IDS, X, X], verbose=0)
        assert fm.Sequential([Dense(2)]).inputs == []

    def test_inputs_are_the_same_at_each_access(self) -> None:
        inner = two_by_two()
        outer = fm.Model(inner.inputs, inner(inner.inputs)[0])
        same(outer([MORE, IDS]), inner([MORE, IDS])[0])
        sequential = fm.Sequential([LSTM(3)])
        sequential.build((None, None, 2))
        head = Dense(2)(sequential(sequential.inputs[0]))
        assert fm.Model(sequential.inputs, head)(np.ones((1, 4, 2))).shape == (1, 2)

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
        with pytest.warns(UserWarning, match="makes a mask of its own"):  # of what `inner` returns
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
        assert [row.parameters for row in rows if row.layer == "words"] == [40, 0]

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
    """The same outputs, and the same order of layers and so of weights."""
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


class TestNamedEnds:
    def model(self) -> tuple[fm.Model, dict[str, np.ndarray]]:
        words, size = fm.Input((None,), "int32"), fm.Input((2,))
        read = fm.layers.LSTM(3)(fm.layers.Embedding(9, 4, mask_zero=True)(words))
        both = fm.layers.Concatenate()([read, size])
        ends = {"p": fm.layers.Dense(2)(both), "q": fm.layers.Dense(1)(read)}
        rng = np.random.default_rng(8)
        x = {"size": rng.random((5, 2)), "words": rng.integers(0, 9, (5, 6))}
        return fm.Model({"words": words, "size": size}, ends), x

    def test_calls_and_predictions(self) -> None:
        model, x = self.model()
        outputs = model(x)
        assert list(outputs) == ["p", "q"]
        assert outputs["p"].shape == (5, 2)
        listed = model([x["words"], x["size"]])
        predicted = model.predict(x, batch_size=2, verbose=0)
        for name in outputs:
            np.testing.assert_array_equal(outputs[name], listed[name])
            np.testing.assert_allclose(outputs[name], predicted[name], atol=1e-6)

    def test_names_of_inputs_without_a_dict(self) -> None:
        a, b = fm.Input((3,), name="a"), fm.Input((3,), name="b")
        model = fm.Model([a, b], fm.layers.Subtract()([a, b]))
        one, other = np.full((2, 3), 5.0), np.full((2, 3), 2.0)
        assert (model({"b": other, "a": one}) == 3).all()
        assert (model.predict({"b": other, "a": one}, verbose=0) == 3).all()

    def test_files(self, tmp_path: Path) -> None:
        model, x = self.model()
        fm.save_model(model, tmp_path / "m.npz")
        again = fm.load_model(tmp_path / "m.npz")
        np.testing.assert_array_equal(again(x)["q"], model(x)["q"])

    def test_inside_another_model(self) -> None:
        model, x = self.model()
        words, size = fm.Input((None,), "int32"), fm.Input((2,))
        outer = fm.Model([words, size], model({"words": words, "size": size})["q"])
        np.testing.assert_array_equal(outer([x["words"], x["size"]]), model(x)["q"])

    def test_wrong_names(self) -> None:
        model, x = self.model()
        with pytest.raises(ValueError, match="must be 'words', 'size', not 'words'"):
            model({"words": x["words"]})
        with pytest.raises(TypeError, match="names of inputs must be texts"):
            fm.Model({3: fm.Input((2,))}, fm.layers.Dense(2)(fm.Input((2,))))
