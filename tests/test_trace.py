"""`trace_masks`: what each layer did with the mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers

IDS = np.array([[7, 1, 3, 0], [2, 0, 0, 0]])
X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
MASK = IDS != 0


class Dropper(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs


class Half(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs[:, :2]


class Shift(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        return None if mask is None else np.roll(mask, 1, axis=1)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")  # by the Masking
def test_every_word() -> None:
    model = fm.Sequential(
        [
            layers.Embedding(10, 3, mask_zero=True, name="words"),
            layers.Dense(3),
            layers.LSTM(3, return_sequences=True),
            layers.LSTM(3, return_sequences=True, go_backwards=True),
            Shift(),
            layers.Masking(),
            layers.LSTM(3),
            layers.Dense(2),
        ]
    )
    rows = fm.trace_masks(model, IDS)
    assert [row.did for row in rows] == [
        *("made", "kept", "used, kept", "used, changed", "changed", "made", "used", "-")
    ]
    assert [row.valid for row in rows] == [0.5] * 5 + [pytest.approx(rows[5].valid)] * 2 + [None]
    assert rows[0].mask_in == [None]
    (made,) = rows[0].mask_out
    assert made is not None
    np.testing.assert_array_equal(made.valid, MASK)
    assert rows[1].mask_out[0] is rows[1].mask_in[0]
    text = str(rows)
    assert text.splitlines()[0].split("  ")[0] == "layer"
    assert "words (Embedding)" in text
    assert "50.0%" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_dropped_says_what_to_add() -> None:
    x = fm.Masked(X, MASK)
    (row,) = fm.trace_masks(Dropper(), x)
    assert (row.did, row.mask_out, row.valid) == ("dropped", [None], 0.5)
    assert row.fix == "self.supports_masking = True  # in Dropper.__init__"
    (row,) = fm.trace_masks(Half(), x)
    assert row.fix.startswith("def compute_mask(self, inputs, mask=None)")
    (row,) = fm.trace_masks(layers.Embedding(10, 3), fm.Masked(IDS, MASK))
    assert "mask_zero=True" in row.fix
    rows = fm.trace_masks(fm.Sequential([Dropper(name="d"), layers.LSTM(2)]), x)
    assert [row.did for row in rows] == ["dropped", "-"]
    assert "d dropped the mask; add:\n    self.supports_masking" in repr(rows)
    (row,) = fm.trace_masks(layers.Lambda(np.negative), x)
    assert (row.did, row.fix[:12]) == ("dropped", "Lambda(..., ")
    for layer in (layers.Flatten(), layers.Reshape((2, 6)), layers.Reshape((4, 3))):
        (row,) = fm.trace_masks(layer, x)
        assert row.did == "dropped"
        assert "fm." in row.fix


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_used_and_then_lost() -> None:
    class Weigh(layers.Layer):
        def call(self, inputs: Any, mask: Any = None) -> Any:
            return inputs if mask is None else inputs * mask[:, :, np.newaxis]

    (row,) = fm.trace_masks(Weigh(), fm.Masked(X, MASK))
    assert (row.did, row.fix) == (
        "used, dropped",
        "self.supports_masking = True  # in Weigh.__init__",
    )
    for layer in (layers.LSTM(2), layers.GlobalAveragePooling1D()):  # these are meant to
        (row,) = fm.trace_masks(layer, fm.Masked(X, MASK))
        assert (row.did, row.fix) == ("used", "")


def test_explicit_mask() -> None:
    (row,) = fm.trace_masks(layers.Dense(2), X, mask=MASK)
    assert row.did == "kept"
    rows = fm.trace_masks(fm.Sequential([layers.Dense(2)]), X, mask=MASK)
    assert rows[0].did == "kept"


def test_graph_with_models_inside() -> None:
    x, ids = fm.Input((None, 3)), fm.Input((None,), "int32")
    mask = fm.get_mask(layers.Embedding(10, 2, mask_zero=True, name="words")(ids))
    inner_input = fm.Input((None, 3))
    y = layers.LSTM(3, return_sequences=True, name="lstm")(inner_input)
    inner = fm.Model(inner_input, y, name="inner")
    stack = fm.Sequential([inner, layers.Dense(2, name="dense")], name="stack")
    model = fm.Model([x, ids], stack(x, mask=mask))
    rows = fm.trace_masks(model, [X, IDS])
    assert [(row.layer, row.did) for row in rows] == [
        ("words", "made"),
        ("stack/inner/lstm", "used, kept"),
        ("stack/dense", "kept"),
    ]
    assert [row.mask for row in model.summary()] == ["made", "used, kept", "kept"]


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_several_inputs() -> None:
    x = fm.Input((None, 3))
    model = fm.Model(x, layers.Add(name="sum")([layers.Masking()(x), x]))
    (_, row) = fm.trace_masks(model, X)
    assert len(row.mask_in) == 2
    assert row.mask_in[1] is None
    assert (row.layer, row.did) == ("sum", "dropped")


class Reader(fm.Model):
    """Layers in an attribute, a list and a model."""

    def __init__(self) -> None:
        super().__init__(name="reader")
        self.words = layers.Embedding(10, 3, mask_zero=True, name="words")
        self.stack = [layers.LSTM(4, return_sequences=True, name=f"lstm{i}") for i in range(2)]
        self.tail = fm.Sequential(
            [layers.Dense(2, name="dense"), Dropper(name="gone")], name="tail"
        )

    def call(self, inputs: Any) -> Any:
        x = self.words(inputs)
        for layer in self.stack:
            x = layer(x)
        return self.tail(x)


READER = [
    ("reader", (None, None, 2), 312, "-"),
    ("reader/words", (None, None, 3), 30, "made"),
    ("reader/lstm0", (None, None, 4), 128, "used, kept"),
    ("reader/lstm1", (None, None, 4), 144, "used, kept"),
    ("reader/tail/dense", (None, None, 2), 10, "kept"),
    ("reader/tail/gone", (None, None, 2), 0, "dropped"),
]


class Steps(layers.Layer):
    """Calls one layer at every step, and another on all steps."""

    supports_masking = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(2, name="dense")
        self.norm = layers.LayerNormalization(name="norm")

    def call(self, inputs: Any, mask: Any = None) -> Any:
        y = np.stack([self.dense(inputs[:, t]) for t in range(inputs.shape[1])], axis=1)
        return self.norm(y, mask=mask).data if mask is not None else self.norm(y)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
class TestInside:
    """Layers inside custom layers and models."""

    def test_trace_of_a_subclassed_model(self) -> None:
        rows = fm.trace_masks(Reader(), IDS)
        assert [(row.layer, row.did) for row in rows] == [(n, did) for n, _, _, did in READER]
        assert rows[3].mask_in[0] is rows[1].mask_out[0]
        assert "fm." in rows[-1].fix or "supports_masking" in rows[-1].fix

    def test_trace_of_a_layer_in_models(self) -> None:
        ids = fm.Input((None,), "int32")
        words = layers.Embedding(10, 3, mask_zero=True, name="words")
        model = fm.Model(ids, fm.Sequential([Steps(name="steps")], name="stack")(words(ids)))
        rows = fm.trace_masks(model, IDS)
        assert [(row.layer, row.did, row.calls) for row in rows] == [
            ("words", "made", 1),
            ("stack/steps", "used, kept", 1),
            ("stack/steps/dense", "-", 4),
            ("stack/steps/norm", "kept", 1),
        ]
        assert "stack/steps/dense (Dense) x 4" in str(rows)

    def test_repeats_with_other_masks_are_rows_of_their_own(self) -> None:
        class Halves(layers.Layer):
            def __init__(self) -> None:
                super().__init__()
                self.norm = layers.UnitNormalization(name="norm")

            def call(self, inputs: Any, mask: Any) -> Any:
                for half in (slice(2), slice(2, 4), slice(2)):
                    self.norm(inputs[:, half], mask=mask[:, half])
                return inputs

        rows = fm.trace_masks(Halves(), X, mask=MASK)
        assert [(row.calls, row.valid) for row in rows[1:]] == [(2, 0.75), (1, 0.25)]

    def test_nothing_is_noted_of_trial_calls(self) -> None:
        class Builds(Steps):
            def build(self, input_shape: Any) -> None:
                self.dense.compute_output_shape(input_shape)

            def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
                return fm.Sequential([layers.UnitNormalization()]).compute_mask(inputs, mask)

        rows = fm.trace_masks(Builds(name="b"), X, mask=MASK)
        assert [(row.layer, row.calls) for row in rows] == [("b", 1), ("b/dense", 4), ("b/norm", 1)]

    def test_a_failed_call_ends_the_trace(self) -> None:
        class Fails(Steps):
            def call(self, inputs: Any) -> Any:
                raise RuntimeError(f"no {len(inputs)}")

        layer = Fails()
        with pytest.raises(RuntimeError, match="no 2"):
            fm.trace_masks(layer, X)
        assert [row.layer for row in fm.trace_masks(layers.Dense(2, name="d"), X)] == ["d"]

    @pytest.mark.parametrize("where", ["alone", "sequential", "functional"])
    def test_summary(self, where: str) -> None:
        reader = Reader()
        model: Any = reader
        if where == "sequential":
            model = fm.Sequential([layers.Identity(), fm.Sequential([reader])])
        if where == "functional":
            ids = fm.Input((None,), "int32")
            model = fm.Model(ids, reader(ids))
        assert where == "functional" or {row.shape for row in model.summary()} == {None}
        model(IDS)
        prefix = f"{model.layers[1].name}/" if where == "sequential" else ""
        time = None if where == "functional" else 4
        rows = model.summary()[-len(READER) :]  # after that of the layer before it
        assert [(row.layer, row.shape, row.parameters, row.mask) for row in rows] == [
            (prefix + name, (None, time, shape[2]), parameters, did)
            for name, shape, parameters, did in READER
        ]

    def test_summary_of_a_layer_that_works_on_steps(self) -> None:
        model = fm.Sequential([fm.Input((None, 3)), layers.Masking(), Steps(name="steps")])
        assert [(row.layer, row.shape, row.mask) for row in model.summary()[1:]] == [
            ("steps", (None, None, 2), "used, kept"),
            ("steps/dense", (None, 2), "-"),
            ("steps/norm", (None, None, 2), "kept"),
        ]
        assert model.summary()[0].mask == "made"

    def test_summary_where_zeros_are_no_inputs(self) -> None:
        class Picky(Steps):
            def call(self, inputs: Any) -> Any:
                if not inputs.any():
                    raise ValueError("zeros")
                return self.dense(inputs)

        model = fm.Sequential([Picky(name="picky"), layers.Dense(1)])
        model(X)
        assert [(row.shape, row.mask) for row in model.summary()] == [(None, "?")] * 2
        with_shape = type("Picky", (Picky,), {"compute_output_shape": lambda _, s: (*s[:2], 2)})
        model = fm.Sequential([with_shape(name="picky"), layers.Dense(1)])
        model(X)
        rows = model.summary()
        assert [(row.layer, row.shape) for row in rows[:3]] == [
            ("picky", (None, 4, 2)),
            ("picky/dense", None),
            ("picky/norm", None),
        ]

    def test_summary_keeps_states(self) -> None:
        class Keeps(fm.Model):
            def __init__(self) -> None:
                super().__init__()
                self.lstm = layers.LSTM(2, stateful=True)

            def call(self, inputs: Any) -> Any:
                return self.lstm(inputs)

        model = Keeps()
        model(X)
        assert model.lstm.states is not None
        before = [state.copy() for state in model.lstm.states]
        model.summary()
        for state, other in zip(before, model.lstm.states, strict=True):
            np.testing.assert_array_equal(state, other)


def test_states_stay() -> None:
    model = fm.Sequential([layers.LSTM(2, stateful=True, name="keeper")])
    fm.trace_masks(model, X)
    (keeper,) = model.layers
    assert isinstance(keeper, layers.LSTM)
    assert keeper.states is None
    model(X)
    assert keeper.states is not None
    before = [state.copy() for state in keeper.states]
    fm.trace_masks(model, X)
    for state, other in zip(before, keeper.states, strict=True):
        np.testing.assert_array_equal(state, other)


def test_refuses() -> None:
    with pytest.raises(TypeError, match="model must be a fastmask model or layer, not int"):
        fm.trace_masks(3, X)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(TypeError, match=r"layer 'none' must return an array, .* not NoneType"):
        fm.trace_masks(layers.Lambda(lambda _: None, name="none"), X)

    class NoSuper(layers.Layer):
        def __init__(self) -> None:
            self.units = 3

    with pytest.raises(TypeError, match=r"NoSuper.__init__ must call super\(\).__init__\(\)"):
        fm.trace_masks(NoSuper(), X)


def test_a_mask_that_keras_drops_needs_no_line_of_code() -> None:
    models = Path(__file__).parent / "data" / "models"
    model = fm.load_model(models / "seq2seq.keras")
    with np.load(models / "seq2seq.io.npz") as stored:
        source, target = stored["x0"], stored["x1"]
    with pytest.warns(UserWarning, match="masked steps count from there on"):
        trace = fm.trace_masks(model, [source, target[:, ::-1]])
    (row,) = [one for one in trace if "dropped" in one.did]
    assert row.layer.endswith("_without_mask")
    assert row.fix == ""
    assert f"{row.layer} dropped the mask, as Keras does" in str(trace)
    assert "add:" not in str(trace)
    assert "padding counts from here on" in row.note
    (row,) = [one for one in fm.trace_masks(model, [source, target]) if "dropped" in one.did]
    assert row.note.endswith("it masked only ends of rows, and no valid step depends on these")


def test_lists_of_rows_as_for_predict() -> None:
    rows = [[7, 1, 3], [2]]
    words = layers.Embedding(10, 3, mask_zero=True)
    model = fm.Sequential([words, layers.GRU(2)])
    (first, _) = fm.trace_masks(model, rows)
    np.testing.assert_array_equal(first.mask_out[0], [[1, 1, 1], [1, 0, 0]])
    padded = fm.Sequential([layers.Masking(-1.0), layers.GRU(2)])
    (first, _) = fm.trace_masks(padded, [np.zeros((2, 3)), np.zeros((4, 3))])
    assert first.valid == 0.75
    (first, _) = fm.trace_masks(padded, [np.zeros((2, 3)), np.zeros((2, 3))])
    assert first.mask_in == [None]
    a, b = fm.Input((None, 3), name="a"), fm.Input((None,), dtype="int32", name="b")
    pair = fm.Model([a, b], [layers.GRU(2)(a), layers.GRU(2)(words(b))])
    given = {"a": [np.ones((2, 3)), np.ones((1, 3))], "b": rows}
    for x in (given, [given["a"], rows]):
        shares = {row.type: row.valid for row in fm.trace_masks(pair, x)}
        assert shares == {"Embedding": pytest.approx(4 / 6), "GRU": pytest.approx(4 / 6)}
    with pytest.raises(ValueError, match="2 inputs"):
        fm.trace_masks(pair, X)


def test_a_ragged_keeps_its_rows_where_a_padded_batch_loses_its_mask() -> None:
    conv = layers.Conv1D(2, 2, padding="same")
    (row,) = fm.trace_masks(conv, fm.ragged([np.ones((2, 3)), np.ones((4, 3))]))
    assert row.did == "kept"
    with pytest.warns(UserWarning, match="will therefore destroy the mask"):
        model = fm.Sequential([fm.Input((None, 3)), layers.Masking(), conv])
    assert model.summary()[-1].mask == "dropped"
