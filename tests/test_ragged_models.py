"""Models on ragged batches: the results of padded batches, without the padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm

from .ragged_batches import assert_same, padded

L = fm.layers
LENGTHS = [6, 4, 0, 2, 1]


def ids_of(lengths: list[int], zeros: float = 0.0, seed: int = 0) -> fm.Ragged:
    random = np.random.default_rng(seed)
    values = random.integers(1, 50, sum(lengths))
    values[random.random(len(values)) < zeros] = 0
    return fm.Ragged(values, np.r_[0, np.cumsum(lengths)].astype(np.int64))


def tagger() -> Any:
    return fm.Sequential(
        [
            L.Embedding(50, 8, mask_zero=True),
            L.LSTM(16, return_sequences=True),
            L.Dense(12, activation="relu"),
            L.LayerNormalization(),
            L.Dense(5),
        ]
    )


def two_inputs() -> Any:
    """A model with shared, bidirectional, attention, merge, pooling and nested layers."""
    a, b = fm.Input((None,), "int32", name="a"), fm.Input((None,), "int32", name="b")
    embedding = L.Embedding(50, 8, mask_zero=True)
    read = L.Bidirectional(L.GRU(6, return_sequences=True))(embedding(a))
    seen = L.MultiHeadAttention(2, 4)(read, embedding(b))
    together = L.Dropout(0.5)(L.Add()([read, seen]))
    inner = fm.Model([a, b], [L.GlobalAveragePooling1D()(together), together])
    one, two = fm.Input((None,), "int32", name="one"), fm.Input((None,), "int32", name="two")
    pooled, steps = inner([one, two])
    return fm.Model({"one": one, "two": two}, {"pooled": pooled, "steps": L.Dense(3)(steps)})


def test_sequential() -> None:
    model = tagger()
    for x in (ids_of(LENGTHS), ids_of(LENGTHS, 0.4), ids_of([3]), ids_of([1, 1])):
        assert_same(model(x), model(padded(x)))
    for nothing in (ids_of([]), ids_of([0, 0])):
        assert model(nothing).shape == (len(nothing), None, 5)


def test_functional_with_names() -> None:
    model = two_inputs()
    x = {"one": ids_of(LENGTHS, 0.3), "two": ids_of([1, 2, 3, 2, 1], seed=1)}
    y = model(x)
    expected = model({name: padded(one) for name, one in x.items()})
    for name in ("pooled", "steps"):
        assert_same(y[name], expected[name], name)
    predicted = model.predict(x, batch_size=2, verbose=0)
    for name in ("pooled", "steps"):
        assert_same(predicted[name], expected[name], name)
    beside_lists = {"one": x["one"], "two": [row.tolist() for row in x["two"]]}
    predicted = model.predict(beside_lists, batch_size=2, verbose=0)
    for name in ("pooled", "steps"):
        assert_same(predicted[name], expected[name], name)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize(
    "form", [None, *(pytest.param(form, marks=pytest.mark.slow) for form in ("int8", "bfloat16"))]
)
def test_folded_and_quantized(form: str | None, sequences: bool) -> None:
    reader = L.Bidirectional(L.LSTM(16, return_sequences=sequences))
    model = fm.Sequential([L.Embedding(50, 8, mask_zero=True), L.SpatialDropout1D(0.3), reader])
    model(ids_of([2]))
    if form is not None:
        model.quantize(form)
    assert "folded" in str(model.summary())
    for zeros in (0.0, 0.4):
        x = ids_of(LENGTHS, zeros)
        assert_same(model(x), model(padded(x)))


class Seen(L.Layer):
    """Records its inputs."""

    step_by_step = supports_masking = True

    def call(self, inputs: Any) -> Any:
        self.batches = [*getattr(self, "batches", []), inputs]
        return inputs + 1


def test_predict_cuts_views() -> None:
    values = np.arange(60.0, dtype=np.float32).reshape(30, 2)
    x = fm.Ragged(values, [0, 10, 10, 11, 25, 30])
    seen = Seen()
    model = fm.Sequential([seen])
    y = model.predict(x, batch_size=2, verbose=0)
    assert [batch.shape for batch in seen.batches] == [(1, 10, 2), (1, 15, 2), (1, 5, 2)]
    assert all(np.shares_memory(batch, values) for batch in seen.batches)
    assert y.offsets.tolist() == x.offsets.tolist()
    np.testing.assert_array_equal(y.values, values + 1)
    batches = model.predict((part for part in (x[:2], x[2:])), verbose=0)
    assert batches.offsets.tolist() == x.offsets.tolist()
    assert model.predict(x[:0], verbose=0).shape == (0, None, 2)
    assert model.predict(x, batch_size=2, steps=1, verbose=0).lengths.tolist() == [10, 0]


def test_predict_puts_holes_together() -> None:
    x = ids_of([3, 3, 2, 4], 0.4)
    model = fm.Sequential([L.Embedding(50, 4, mask_zero=True)])
    whole = model(x)
    assert whole.valid is not None
    y = model.predict(x, batch_size=1, verbose=0)
    assert y.valid.tolist() == whole.valid.tolist()
    np.testing.assert_array_equal(y.values, whole.values)


def test_trace() -> None:
    model = tagger()
    x = ids_of(LENGTHS, 0.4)
    ragged, masked = fm.trace_masks(model, x), fm.trace_masks(model, padded(x))
    assert str(ragged) == str(masked)
    rows = fm.trace_masks(fm.Sequential([L.Embedding(50, 4), L.GRU(3)]), x)
    assert [row.did for row in rows] == ["kept", "used"]


def test_states() -> None:
    random = np.random.default_rng(2)
    x = fm.Ragged(random.normal(size=(13, 3)), np.r_[0, np.cumsum(LENGTHS)])
    states = [random.normal(size=(5, 4)).astype(np.float32) for _ in range(4)]
    layer = L.Bidirectional(L.LSTM(4, return_sequences=True, return_state=True), merge_mode=None)
    assert_same(layer(x, initial_state=states), layer(padded(x), initial_state=states))
    stacked = L.RNN([L.LSTMCell(4), fm.cells.gru(3)], return_state=True, go_backwards=True)
    assert_same(stacked(x), stacked(padded(x)))
    kept, other = L.GRU(4, stateful=True), L.GRU(4, stateful=True)
    kept(x)
    other.build((None, None, 3))
    other.set_weights(kept.get_weights())
    other(padded(x))
    assert_same(kept(x), other(padded(x)))
    with pytest.raises(ValueError, match="must have batch size 5, not 4"):
        kept(x[:4])
    with pytest.raises(ValueError, match="must have 3 features, not 2"):
        kept(fm.Ragged(np.ones((5, 2)), np.arange(6)))
    with pytest.raises(ValueError, match=r"\(batch, time, features\), not \(5, None\)"):
        kept(ids_of(LENGTHS))


def test_scores_of_attention_end_the_model() -> None:
    """Scores are padded arrays, and a layer would take the padding for steps."""
    x = fm.Input((None, 3))
    y, scores = L.Attention(name="seen")([x, x], return_attention_scores=True)
    whole, used = fm.Model(x, [y, scores]), fm.Model(x, L.GlobalMaxPooling1D()(scores))
    random = np.random.default_rng(7)
    rows = fm.Ragged(random.standard_normal((9, 3), np.float32), [0, 2, 6, 9])
    for row, ours in zip(rows, whole(rows)[1], strict=True):
        np.testing.assert_allclose(ours[: len(row), : len(row)], whole(row[None])[1][0], atol=1e-6)
    with pytest.raises(ValueError, match=r"'seen' \(Attention\) cannot .* scores, which"):
        used(rows)
    equal = fm.Ragged(rows.values, [0, 3, 6, 9])
    np.testing.assert_allclose(used(equal), used(equal.to_masked().data), atol=1e-6)


class Sum(L.Layer):
    """A cell without kernels."""

    state_size = 3

    def call(self, inputs: Any, states: Any) -> Any:
        return states[0] + inputs, [states[0] + inputs]


def test_cells_of_ones_own_and_dropout_in_training() -> None:
    x = fm.Ragged(np.ones((13, 3), np.float32), np.r_[0, np.cumsum(LENGTHS)])
    y = L.RNN(Sum(), return_sequences=True)(x)
    assert y[0][:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    formula = L.RNN(fm.cells.peephole_lstm(4), return_sequences=True)
    assert_same(formula(x), formula(padded(x)))
    for options in ({"dropout": 0.5}, {"recurrent_dropout": 0.5}):
        layer = L.LSTM(4, seed=1, **options)
        other = L.LSTM(4, seed=1, **options)
        layer.build((None, None, 3))
        other.build((None, None, 3))
        other.set_weights(layer.get_weights())
        assert_same(layer(x, training=True), other(padded(x), training=True))


def test_words_in_sentences() -> None:
    """The mask of words is passed along; steps are the sentences."""
    random = np.random.default_rng(6)
    words = random.integers(0, 9, (7, 4))
    x = fm.Ragged(words, [0, 3, 3, 7])
    model = fm.Sequential(
        [
            L.Embedding(9, 3, mask_zero=True),
            L.TimeDistributed(L.LSTM(4)),
            L.GRU(5, return_sequences=True),
        ]
    )
    y, expected = model(x), model(padded(x))
    assert_same(y, expected)
    norm = L.GroupNormalization(1)
    embedded = model.layers[0](x)
    assert_same(norm(embedded), norm(padded(embedded)))
    of_words = L.Lambda(lambda ids: 1.0 * ids, mask=lambda ids, _mask: ids != 0)(x)
    with pytest.raises(ValueError, match=r"mask of a Ragged must have shape \(steps,\)"):
        L.GRU(3)(of_words)


def test_misuse() -> None:
    fixed = fm.Model(a := fm.Input((4,), "int32"), L.Flatten()(L.Embedding(50, 2)(a)))
    with pytest.raises(TypeError, match=r"Flatten.* cannot take a Ragged.*to_masked"):
        fixed(ids_of([4, 3]))
    of_features = fm.Model(b := fm.Input((None, 3)), L.Dense(2)(b))
    with pytest.raises(ValueError, match="must have shape"):
        of_features(ids_of([4, 3]))
