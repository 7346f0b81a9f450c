"""`TimeDistributed`: every step is a sequence with a mask of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .documents import documents, embedded

Make = Callable[[], Any]


def by_hand(inner: Any, x: fm.Masked) -> list[Any]:
    """The layer called on one row of words after the other, with only the valid words."""
    rows = x.data.reshape(-1, *x.shape[2:])
    valid = np.asarray(x.mask).reshape(len(rows), -1)
    return [inner(row[None, keep]) for row, keep in zip(rows, valid, strict=True)]


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
