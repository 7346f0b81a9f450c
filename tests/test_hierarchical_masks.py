"""Masks of sequences within sequences: words in sentences in documents."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L
from fastmask.backends import plan as _plan

from .documents import documents, embedded


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
    assert (inner.did, inner.mask_in[0].shape) == ("used", (12, 5))  # type: ignore[union-attr]  # there is one
    assert masked["document"].mask_in[0].shape == (4, 3)  # type: ignore[union-attr]  # there is one
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
