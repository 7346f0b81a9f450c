"""Masks of sequences within sequences: words in sentences in documents."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L
from fastmask.backends import plan as _plan

Make = Callable[[], Any]


def documents(seed: int, *shape: int) -> Any:
    """Word ids with holes and padding; one sentence has no words, one document no sentences."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 9, shape or (4, 3, 5))
    ids[rng.random(ids.shape) < 0.3] = 0
    ids[0, 1] = 0
    ids[1, 2:] = 0
    ids[-1] = 0
    return ids


def embedded(ids: Any) -> fm.Masked:
    layer = L.Embedding(9, 4, mask_zero=True)
    x: fm.Masked = layer(ids)
    return x


def by_hand(inner: Any, x: fm.Masked) -> list[Any]:
    """The layer called on one row of words after the other, with only the valid words."""
    rows = x.data.reshape(-1, *x.shape[2:])
    valid = np.asarray(x.mask).reshape(len(rows), -1)
    return [inner(row[None, keep]) for row, keep in zip(rows, valid, strict=True)]


class TestMask:
    def test_has_three_axes_or_more(self) -> None:
        valid = documents(0) != 0
        mask = fm.Mask(valid)
        assert (mask.shape, mask.ndim, mask.size) == ((4, 3, 5), 3, 60)
        np.testing.assert_array_equal(mask.valid, valid)
        np.testing.assert_array_equal(mask.lengths, valid.sum(-1))
        assert mask.fill == pytest.approx(valid.mean())
        assert fm.Mask(documents(0, 2, 3, 4, 5) != 0).lengths.shape == (2, 3, 4)
        again = pickle.loads(pickle.dumps(mask))  # noqa: S301 - own bytes
        np.testing.assert_array_equal(again, valid)
        np.testing.assert_array_equal(mask & [[[1, 1, 1, 1, 0]]], valid & (np.arange(5) < 4))

    def test_plan_is_that_of_its_rows(self) -> None:
        valid = documents(1) != 0
        mask = fm.Mask(valid)
        before = _plan.plans_made()
        offsets, steps, order = mask.plan
        np.testing.assert_array_equal(steps, np.flatnonzero(valid))
        np.testing.assert_array_equal(np.diff(offsets), valid.sum(-1).ravel())
        assert len(order) == 12
        assert mask.of_steps is mask.of_steps
        assert mask.of_steps.plan is mask.plan
        assert _plan.plans_made() == before + 1
        with pytest.raises(ValueError, match=r"a mask of shape \(2, 3\) has one flag"):
            _ = fm.Mask(np.ones((2, 3))).of_steps

    @pytest.mark.parametrize("words", [1, 2])
    def test_one_word_a_sentence(self, words: int) -> None:
        ids = documents(2, 4, 3, words)
        x = embedded(ids)
        assert x.mask.shape == ids.shape
        assert fm.Masked(np.ones((4, 3, words, 2)), ids != 0).mask.shape == ids.shape
        assert pickle.loads(pickle.dumps(x)).mask.shape == ids.shape  # noqa: S301 - own bytes
        assert L.TimeDistributed(L.LSTM(2))(x).mask.shape == (4, 3)
        sequences = L.TimeDistributed(L.LSTM(2, return_sequences=True))
        assert sequences(x).mask.shape == ids.shape
        symbol = sequences(L.Embedding(9, 4, mask_zero=True)(fm.Input((3, words), "int32")))
        assert symbol.masked == 3

    def test_a_last_axis_of_one_is_none_where_the_data_has_more(self) -> None:
        flags = np.array([[[1], [0], [1]], [[0], [0], [1]]])
        x = fm.Masked(np.ones((2, 3, 4, 5)), flags)  # of sentences, not of words
        np.testing.assert_array_equal(x.mask, flags[:, :, 0])
        assert x.mask.shape == (2, 3)

    def test_must_fit_the_data(self) -> None:
        mask = documents(3) != 0
        with pytest.raises(ValueError, match=r"\(4, 3, 5\).*\(4, 3, 6, 2\).*first 3 axes"):
            fm.Masked(np.ones((4, 3, 6, 2)), mask)
        assert fm.Masked(documents(3), mask).mask.ndim == 3

    def test_where_sequences_alone_are_taken(self) -> None:
        x, mask = np.ones((4, 3, 5)), documents(4) != 0
        for layer in (L.LSTM(2), L.Bidirectional(L.GRU(2)), L.RNN(L.SimpleRNNCell(2))):
            with pytest.raises(ValueError, match=r"\(batch, time\), not \(4, 3, 5\): TimeDist"):
                layer(fm.Masked(x, mask))
        with pytest.raises(ValueError, match=r"mask has shape \(4, 3, 5\)"):
            L.GlobalAveragePooling1D()(fm.Masked(x, mask))
        with pytest.raises(ValueError, match=r"mask of x must have shape \(batch, time\)"):
            fm.ops.rnn(x, np.ones((5, 2)), np.ones((2, 2)), mask=mask)
        with pytest.raises(ValueError, match=r"mask \(batch, time\), not \(4, 3, 5\)"):
            fm.unpad(fm.Masked(x, mask))
        for layer in (L.GlobalMaxPooling1D(), L.Flatten()):
            with pytest.warns(UserWarning, match="destroy the mask"):
                layer(fm.Masked(x, mask))

    def test_means_of_losses(self) -> None:
        ids = documents(5)
        loss = np.where(ids != 0, np.random.default_rng(5).random(ids.shape), np.nan)
        assert fm.losses.masked_mean(loss, ids != 0) == pytest.approx(np.nanmean(loss))
        sentences = np.array([[1, 0, 1]] * 4, bool)
        both = np.where(sentences[:, :, None], loss, np.nan)
        inner = fm.Masked(loss, ids != 0)
        assert fm.losses.masked_mean(inner, sentences) == pytest.approx(np.nanmean(both))
        right = fm.metrics.binary_accuracy(ids > 4, fm.Masked(ids / 9, ids != 0))
        assert right == 1.0


SEQUENCE_LAYERS: dict[str, Make] = {
    "lstm": lambda: L.LSTM(3),
    "gru": lambda: L.GRU(3, go_backwards=True),
    "cells": lambda: L.RNN([L.LSTMCell(3), L.GRUCell(2)]),
    "bidirectional": lambda: L.Bidirectional(L.LSTM(3)),
    "mean": L.GlobalAveragePooling1D,
    "model": lambda: fm.Sequential([L.GRU(3, return_sequences=True), L.Dense(2), L.LSTM(2)]),
}


@pytest.mark.parametrize("name", SEQUENCE_LAYERS)
def test_each_step_has_its_own_mask(name: str) -> None:
    inner, x = SEQUENCE_LAYERS[name](), embedded(documents(6))
    layer = L.TimeDistributed(inner)
    y = layer(x)
    np.testing.assert_array_equal(y.mask, np.asarray(x.mask).any(axis=2))
    np.testing.assert_array_equal(layer.compute_mask(x.data, x.mask.valid), y.mask)
    rows = y.data.reshape(12, -1)
    for row, alone in zip(rows, by_hand(inner, x), strict=True):
        np.testing.assert_allclose(row, alone[0], atol=1e-6)
    steps = [inner(x.data[:, t], mask=np.asarray(x.mask)[:, t]) for t in range(3)]
    np.testing.assert_allclose(y.data, np.stack(steps, axis=1), atol=0 if "m" not in name else 1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.LSTM(3, return_sequences=True),
        lambda: L.GRU(3, return_sequences=True, go_backwards=True),
        lambda: L.Bidirectional(L.SimpleRNN(3, return_sequences=True)),
        lambda: L.Softmax(axis=1),
        lambda: L.LayerNormalization(),
        lambda: L.GroupNormalization(2),
        lambda: fm.Sequential([L.LSTM(3, return_sequences=True)]),
    ],
)
def test_masks_that_go_on_keep_all_axes(make: Make) -> None:
    inner, x = make(), embedded(documents(7))
    layer = L.TimeDistributed(inner)
    y = layer(x)
    for t in range(3):
        alone = inner(fm.Masked(x.data[:, t], np.asarray(x.mask)[:, t]))
        np.testing.assert_array_equal(y.data[:, t], alone.data)
        np.testing.assert_array_equal(np.asarray(y.mask)[:, t], alone.mask)
    np.testing.assert_array_equal(layer.compute_mask(x.data, x.mask.valid), y.mask)
    assert layer(L.Embedding(9, 4, mask_zero=True)(fm.Input((3, 5), "int32"))).masked == 3


def test_padding_is_never_read() -> None:
    x = embedded(documents(8))
    garbage = np.where(np.asarray(x.mask)[..., None], x.data, np.nan)
    for make in SEQUENCE_LAYERS.values():
        layer = L.TimeDistributed(make())
        np.testing.assert_array_equal(layer(x).data, layer(fm.Masked(garbage, x.mask)).data)


@pytest.mark.parametrize("training", [False, True])
def test_layers_of_ones_own_are_called_step_by_step(training: bool) -> None:
    seen = []

    class Mean(L.Layer):
        def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
            seen.append((mask.copy(), training))
            counts = np.maximum(mask.sum(axis=1, keepdims=True), 1)
            return np.where(mask[:, :, None], inputs, 0).sum(axis=1) / counts

        def compute_mask(self, *_: Any) -> Any:
            return None

    x = embedded(documents(9))
    y = L.TimeDistributed(Mean())(x, training=training)
    valid = np.asarray(x.mask)
    np.testing.assert_array_equal(np.stack([mask for mask, _ in seen], axis=1), valid)
    assert {given for _, given in seen} == {training}
    expected = L.TimeDistributed(L.GlobalAveragePooling1D())(x)
    np.testing.assert_allclose(y.data, expected.data, atol=1e-6)
    np.testing.assert_array_equal(y.mask, expected.mask)


def reader() -> Any:
    """A model with attention over words, as in hierarchical attention networks."""
    x = fm.Input((None, 4))
    words = L.Bidirectional(L.GRU(3, return_sequences=True))(x)
    weights = L.Softmax(axis=1)(L.Dense(1)(L.Dense(3, activation="tanh")(words)))
    return fm.Model(x, L.GlobalAveragePooling1D()(L.Multiply()([words, weights])))


@pytest.mark.parametrize(
    "make",
    [
        reader,
        lambda: fm.Sequential([L.GroupNormalization(2), L.BatchNormalization(), L.LSTM(3)]),
        lambda: L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True, go_backwards=True),
        lambda: L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="mul"),
        lambda: L.Activation("relu"),
        lambda: L.UnitNormalization(axis=1),
    ],
)
@pytest.mark.parametrize("shape", [(3, 2, 5), (1, 1, 1), (2, 3, 1), (0, 2, 3), (2, 3, 0)])
def test_one_batch_equals_a_call_for_every_step(
    make: Make, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(23)
    x = rng.normal(size=(*shape, 4)).astype(np.float32)
    mask = rng.random(shape) < 0.5
    layer = L.TimeDistributed(make())
    for given in (x, fm.Masked(x, mask), fm.Masked(x, mask.any(axis=2))):
        results = []
        for alone in (True, False):
            monkeypatch.setattr(
                "fastmask.layers.time_distributed.rows_alone", lambda _, alone=alone: alone
            )
            results.append(layer(given))
        one, other = (y.data if isinstance(y, fm.Masked) else y for y in results)
        np.testing.assert_allclose(one, other, atol=1e-6)
        one, other = (fm.get_mask(y) for y in results)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)


def test_a_subclass_of_a_known_layer_is_called_step_by_step() -> None:
    class Centered(L.Dense):
        def call(self, inputs: Any) -> Any:
            return inputs - inputs.mean(axis=0)

    x = np.random.default_rng(10).normal(size=(3, 2, 4)).astype(np.float32)
    y = L.TimeDistributed(Centered(4))(x)
    np.testing.assert_allclose(y, x - x.mean(axis=0), atol=1e-6)
    along_rows = L.TimeDistributed(L.Softmax(axis=0))(x)
    np.testing.assert_allclose(along_rows.sum(axis=0), 1, atol=1e-6)


def test_states_go_from_step_to_step_where_they_are_kept() -> None:
    x = np.random.default_rng(11).normal(size=(2, 3, 4, 5)).astype(np.float32)
    inner = L.LSTM(3, stateful=True)
    y = L.TimeDistributed(inner)(x)
    inner.reset_state()
    for t in range(3):
        np.testing.assert_array_equal(y[:, t], inner(x[:, t]))


def test_nested() -> None:
    """Words in sentences in paragraphs in documents."""
    x = embedded(documents(12, 3, 2, 3, 4))
    words, sentences, paragraphs = L.LSTM(3), L.GRU(3), L.SimpleRNN(3)
    over_words = L.TimeDistributed(L.TimeDistributed(words))(x)
    valid = np.asarray(x.mask)
    np.testing.assert_array_equal(over_words.mask, valid.any(axis=3))
    over_sentences = L.TimeDistributed(sentences)(over_words)
    np.testing.assert_array_equal(over_sentences.mask, valid.any(axis=(2, 3)))
    y = paragraphs(over_sentences)
    for b in range(3):
        paragraph = []
        for p in range(2):
            kept = [
                words(x.data[b, p, s][valid[b, p, s]][None])
                for s in range(3)
                if valid[b, p, s].any()
            ]
            if kept:
                paragraph.append(sentences(np.stack(kept, axis=1)))
        if paragraph:
            np.testing.assert_allclose(y[b], paragraphs(np.stack(paragraph, 1))[0], atol=1e-6)
        else:
            assert not y[b].any()


def test_a_layer_that_ends_all_inner_masks() -> None:
    """One vector remains of all words in all sentences of a paragraph."""

    class Sum(L.Layer):
        supports_masking = True

        def call(self, inputs: Any, mask: Any) -> Any:
            return np.where(mask[..., None], inputs, 0).sum(axis=(1, 2))

        def compute_mask(self, *_: Any) -> Any:
            return None

    ids = documents(14, 3, 4, 2, 3)
    ids[0, 1] = 0
    x = embedded(ids)
    y = L.TimeDistributed(Sum())(x)
    assert isinstance(y, fm.Masked)
    np.testing.assert_array_equal(y.mask, (ids != 0).any(axis=(2, 3)))
    expected = np.where((ids != 0)[..., None], x.data, 0).sum(axis=(2, 3))
    np.testing.assert_allclose(y.data, expected, atol=1e-6)


@pytest.mark.parametrize("in_a_model", [False, True])
def test_each_step_has_moments_of_its_own_in_training(in_a_model: bool) -> None:
    x = np.random.default_rng(15).normal(size=(6, 3, 2)).astype(np.float32)
    inner: Any = L.BatchNormalization(epsilon=0.0)
    layer = L.TimeDistributed(fm.Sequential([inner]) if in_a_model else inner)
    y = layer(x, training=True)
    np.testing.assert_allclose(y, (x - x.mean(axis=0)) / x.std(axis=0), atol=1e-5)


def attention(x: Any) -> Any:
    """Weights over sentences, which must be zero at masked ones."""
    scores = L.Dense(1, name="scores")(x)
    weights = L.Softmax(axis=1, name="weights")(scores)
    return L.GlobalAveragePooling1D(name="mean")(L.Multiply(name="weighted")([x, weights]))


class Own(fm.Model):
    def __init__(self) -> None:
        super().__init__(name="own")
        self.words = L.Embedding(9, 4, mask_zero=True, name="words")
        self.sentence = L.TimeDistributed(L.Bidirectional(L.LSTM(3)), name="sentence")
        self.document = L.GRU(3, name="document")

    def call(self, inputs: Any) -> Any:
        return self.document(self.sentence(self.words(inputs)))


def stacked(kind: str) -> Any:
    own = Own()
    each = [own.words, own.sentence, own.document]
    if kind == "sequential":
        return fm.Sequential(each)
    if kind == "functional":
        ids = fm.Input((None, None), "int32")
        x = ids
        for layer in each:
            x = layer(x)
        return fm.Model(ids, x)
    return own


@pytest.mark.parametrize("kind", ["sequential", "functional", "subclassed"])
def test_models(kind: str, tmp_path: Path) -> None:
    model, ids = stacked(kind), documents(13)
    y = model(ids)
    longer = np.zeros((4, 5, 7), int)
    longer[:, :3, :5] = ids  # more padding, in words and in sentences
    np.testing.assert_allclose(model(longer), y, atol=1e-6)
    np.testing.assert_allclose(model.predict(ids, batch_size=3, verbose=0), y, atol=1e-6)
    masked = {row.layer.removeprefix("own/"): row for row in fm.trace_masks(model, ids)}
    assert [masked[n].did for n in ("words", "sentence", "document")] == [
        *("made", "used, changed", "used"),
    ]
    (inner,) = (row for name, row in masked.items() if name.startswith("sentence/"))
    assert (inner.did, inner.mask_in[0].shape) == ("used", (12, 5))  # type: ignore[union-attr]
    assert masked["document"].mask_in[0].shape == (4, 3)  # type: ignore[union-attr]
    if kind != "subclassed":
        fm.save_model(model, tmp_path / "a.npz")
        np.testing.assert_array_equal(fm.load_model(tmp_path / "a.npz")(ids), y)


def test_attention_over_sentences() -> None:
    ids = fm.Input((None, None), "int32")
    words = L.Embedding(9, 4, mask_zero=True)(ids)
    sentences = L.TimeDistributed(L.LSTM(3))(words)
    model = fm.Model(ids, [sentences, attention(sentences)])
    given = documents(14)
    x, y = model(given)
    scores = model.get_layer("scores")
    for row, data, valid in zip(y, x.data, np.asarray(x.mask), strict=True):
        if valid.any():
            kept = data[valid]
            power = np.exp(scores(kept))
            np.testing.assert_allclose(row, (kept * power / power.sum()).mean(0), atol=1e-6)


def test_outputs_of_predict_keep_all_axes() -> None:
    ids = fm.Input((None, None), "int32")
    layer = L.TimeDistributed(L.LSTM(3, return_sequences=True))
    model = fm.Model(ids, layer(L.Embedding(9, 4, mask_zero=True)(ids)))
    given = documents(15)
    y, whole = model.predict(given, batch_size=3, verbose=0), model(given)
    np.testing.assert_array_equal(y.mask, whole.mask)
    np.testing.assert_allclose(y.data, whole.data, atol=1e-6)


def test_a_mask_of_sentences_leaves_that_of_words_in_force() -> None:
    x = embedded(documents(16))
    sentences = np.array([[1, 1, 0]] * 4, bool)
    y = L.TimeDistributed(L.LSTM(3))(x, mask=sentences)
    lstm = L.TimeDistributed(L.LSTM(3))
    both = np.asarray(x.mask) & sentences[:, :, None]
    y = lstm(x, mask=sentences)
    expected = lstm(fm.Masked(x.data, both))
    np.testing.assert_array_equal(y.data, expected.data)
    np.testing.assert_array_equal(y.mask, both.any(axis=2))
    np.testing.assert_array_equal(L.Dense(2)(x, mask=sentences).mask, both)
    assert lstm(L.Embedding(9, 4, mask_zero=True)(fm.Input((3, 5), "int32"))).masked == 2


def test_a_mask_of_words_beside_one_of_sentences() -> None:
    words = embedded(documents(17))
    sentences = fm.Masked(words.data, [[1, 0, 0]] * 4)
    union = np.asarray(words.mask) | np.array([True, False, False])[None, :, None]
    for layer in (L.Add(), L.Multiply(), L.Maximum(), L.Concatenate()):
        np.testing.assert_array_equal(layer([words, sentences]).mask, union)
    joined = L.Concatenate(axis=2)([words, sentences])
    np.testing.assert_array_equal(joined.mask[:, :, :5], words.mask)
    assert joined.mask[:, :, 5:].all(axis=2).tolist() == [[True, False, False]] * 4
    after = L.Concatenate(axis=1)([words, words.data])
    np.testing.assert_array_equal(after.mask[:, :3], words.mask)
    assert after.mask[:, 3:].all()


def test_masking_of_four_axes() -> None:
    rng = np.random.default_rng(18)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    x[0, 1, 2:] = x[1, 2] = -1
    y = L.Masking(-1)(x)
    np.testing.assert_array_equal(y.mask, (x != -1).any(axis=3))
    assert not y.data[~np.asarray(y.mask)].any()
    assert L.TimeDistributed(L.LSTM(2))(y).mask.lengths.tolist() == [3, 2]
    with pytest.raises(ValueError, match="or more axes before the last one"):
        L.Masking()(np.ones((2, 3)))


def test_a_mask_made_for_each_step_is_lost_with_a_warning() -> None:
    ids = documents(19)
    for inner in (
        L.Embedding(9, 4, mask_zero=True, name="inner"),
        fm.Sequential([L.Embedding(9, 4, mask_zero=True)], name="inner"),
    ):
        with pytest.warns(UserWarning, match="will destroy the mask that its layer 'inner' makes"):
            assert isinstance(L.TimeDistributed(inner)(ids), np.ndarray)
    encoder = fm.Sequential([L.Embedding(9, 4, mask_zero=True), L.LSTM(3)])
    y = L.TimeDistributed(encoder)(fm.Masked(ids, ids != 0))
    np.testing.assert_array_equal(y.mask, (ids != 0).any(axis=2))
    np.testing.assert_array_equal(y.data, L.TimeDistributed(encoder)(ids))


@pytest.mark.parametrize("alone", [True, False])
def test_empty_documents(alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastmask.layers.time_distributed.rows_alone", lambda _: alone)
    sequences = L.TimeDistributed(L.GRU(3, return_sequences=True))
    assert sequences(embedded(np.zeros((4, 3, 0), int))).mask.shape == (4, 3, 0)
    layer = L.TimeDistributed(L.LSTM(3))
    layer(embedded(documents(20)))
    for shape in ((0, 3, 5), (4, 0, 5), (4, 3, 0)):
        y = layer(embedded(np.zeros(shape, int)))
        assert (y.shape, y.mask.shape) == ((*shape[:2], 3), shape[:2])
        assert not y.mask.any()


@pytest.mark.optional
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
class TestAgainstKeras:
    @pytest.fixture(autouse=True)
    def _keras(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        pytest.importorskip("torch", reason="torch is not installed")
        self.keras = pytest.importorskip("keras", reason="keras is not installed")

    @pytest.mark.parametrize(
        "make",
        [
            lambda layers: layers.LSTM(3),
            lambda layers: layers.GRU(3, return_sequences=True),
            lambda layers: layers.Bidirectional(layers.LSTM(3)),
            lambda layers: layers.Dense(3),
            lambda layers: layers.TimeDistributed(layers.Dense(2)),
        ],
    )
    def test_words(self, make: Any) -> None:
        ids = documents(21)
        results = []
        weights: Any = None
        for package in (self.keras, fm):
            layers = package.layers
            model = package.Sequential(
                [
                    package.Input((3, 5), dtype="int32"),
                    layers.Embedding(9, 4, mask_zero=True),
                    layers.TimeDistributed(make(layers)),
                ]
            )
            weights = weights or model.get_weights()
            model.set_weights(weights)
            y = model(ids)
            results.append(y.detach().numpy() if package is self.keras else y.data)
        np.testing.assert_allclose(results[1], results[0], atol=1e-5)

    def test_sentences(self) -> None:
        """Keras needs the mask of sentences by hand; fastmask derives the same one."""
        ids = documents(22)
        theirs = [
            self.keras.layers.Embedding(9, 4, mask_zero=True),
            self.keras.layers.TimeDistributed(self.keras.layers.LSTM(3)),
            self.keras.layers.GRU(2),
        ]
        x = theirs[1](theirs[0](ids))
        expected = theirs[2](x, mask=self.keras.ops.convert_to_tensor((ids != 0).any(axis=2)))
        ours = fm.Sequential(
            [L.Embedding(9, 4, mask_zero=True), L.TimeDistributed(L.LSTM(3)), L.GRU(2)]
        )
        ours(ids)
        ours.set_weights([w for layer in theirs for w in layer.get_weights()])
        np.testing.assert_allclose(ours(ids), expected.detach().numpy(), atol=1e-5)
