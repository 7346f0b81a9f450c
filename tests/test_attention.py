"""Attention layers: against Keras, in models, and where they differ from Keras on purpose."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from . import attention_cases
from .attention_cases import CASES, B, F, S, T

Array = Any


def built(name: str) -> Any:
    layer = CASES[name].make(L)
    layer.build([*CASES[name].shapes])
    layer.set_weights(attention_cases.weights(name, layer.get_weights()))
    return layer


def called(layer: Any, inputs: list[Any], **options: Any) -> list[Any]:
    heads = isinstance(layer, L.MultiHeadAttention)
    y = layer(*inputs, **options) if heads else layer(inputs, **options)
    return list(y) if isinstance(y, (list, tuple)) else [y]


def masked(name: str, masks: str) -> list[Any]:
    pairs = zip(attention_cases.inputs(name), attention_cases.masks_for(name, masks), strict=True)
    return [x if mask is None else fm.Masked(x, mask) for x, mask in pairs]


@pytest.mark.parametrize("name", CASES)
def test_equals_keras(name: str) -> None:
    layer = built(name)
    for masks in CASES[name].masks:
        expected, mask = attention_cases.expected(name, masks)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            outputs = called(layer, masked(name, masks), **CASES[name].options)
        known = fm.get_mask(outputs[0])
        assert (known is None) == (mask is None), masks
        if known is not None:
            np.testing.assert_array_equal(known.valid, mask)
        for ours, theirs in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(
                getattr(ours, "data", ours), theirs, atol=1e-5, err_msg=masks
            )
        assert all(fm.get_mask(one) is None for one in outputs[1:])


@pytest.mark.optional
def test_keras_still_answers_so() -> None:
    if not all(map(importlib.util.find_spec, ("keras", "torch"))):
        pytest.skip("needs the extras keras and torch")
    script = Path(__file__).parent / "data" / "make_attention_golden.py"
    check = subprocess.run(
        [sys.executable, str(script), "--check"],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize("name", CASES)
def test_in_a_model_and_from_a_file(name: str, tmp_path: Path) -> None:
    case, layer = CASES[name], built(name)
    inputs = [fm.Input(shape[1:]) for shape in case.shapes]
    options = {k: v for k, v in case.options.items() if k != "attention_mask"}
    made = called(layer, inputs, **options)
    model = fm.Model(inputs, made)
    arrays = attention_cases.inputs(name)
    expected = called(layer, arrays, **options)
    assert [one.shape[1:] for one in made] == [one.shape[1:] for one in expected]
    fm.save_model(model, tmp_path / "m.npz")
    again = fm.load_model(tmp_path / "m.npz")
    for one in (model, again):
        for ours, theirs in zip(
            one.predict(arrays, batch_size=2, verbose=0), expected, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_nan_at_masked_steps(name: str) -> None:
    for masks in CASES[name].masks:
        layer, inputs = built(name), masked(name, masks)
        dirty = [
            fm.Masked(np.where(x.mask.valid[:, :, None], x.data, np.nan), x.mask)
            if isinstance(x, fm.Masked)
            else x
            for x in inputs
        ]
        pairs = [called(layer, one, **CASES[name].options)[0] for one in (inputs, dirty)]
        if isinstance(pairs[0], fm.Masked):
            valid = pairs[0].mask.valid
            pairs = [one.data[valid] for one in pairs]
        assert np.isfinite(pairs[1]).all()
        seen = inputs[1].mask.valid.any(1) if isinstance(inputs[1], fm.Masked) else np.ones(B, bool)
        if seen.all():
            np.testing.assert_array_equal(*pairs)


class TestCalls:
    """Ways to call MultiHeadAttention, and what its masks do."""

    random = np.random.default_rng(1)
    q, v = random.normal(size=(B, T, F)), random.normal(size=(B, S, F))
    mask = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]], bool)

    def layer(self) -> Any:
        layer = L.MultiHeadAttention(2, 3, seed=1)
        layer.build([self.q.shape, self.v.shape])
        return layer

    def test_by_name(self) -> None:
        layer = self.layer()
        expected = layer(self.q, self.v, self.v)
        np.testing.assert_array_equal(layer(query=self.q, value=self.v), expected)
        np.testing.assert_array_equal(layer(value=self.v, key=self.v, query=self.q), expected)
        with pytest.raises(TypeError, match="was called without query"):
            layer(value=self.v)
        with pytest.raises(TypeError, match="query and value"):
            L.MultiHeadAttention(2, 3)(self.q)

    def test_by_name_in_a_model(self) -> None:
        layer, q, v = self.layer(), fm.Input((None, F)), fm.Input((None, F))
        y = layer(query=q, value=L.Masking()(v), key=v)
        assert y.shape == (None, None, F)
        assert fm.get_mask(y) is None
        model = fm.Model([q, v], y)
        zeros = np.where(self.mask[:, :, None], self.v, 0)
        expected = layer(self.q, zeros, value_mask=self.mask)
        np.testing.assert_allclose(model([self.q, zeros]), expected, atol=1e-6)
        assert [row.did for row in fm.trace_masks(model, [self.q, zeros])] == ["made", "used"]

    def test_masks_say_what_an_attention_mask_says(self) -> None:
        layer = self.layer()
        expected = layer(self.q, self.v, attention_mask=np.repeat(self.mask[:, None], T, 1))
        for given in (self.mask, self.mask.astype(int), self.mask.tolist()):
            np.testing.assert_allclose(layer(self.q, self.v, value_mask=given), expected, atol=1e-6)
            np.testing.assert_allclose(layer(self.q, self.v, key_mask=given), expected, atol=1e-6)
        carried = layer(self.q, fm.Masked(self.v, self.mask))
        np.testing.assert_allclose(carried, expected, atol=1e-6)

    def test_a_query_mask_that_is_given_counts(self) -> None:
        valid = np.arange(T) < np.array([[5], [2], [1]])
        layer = self.layer()
        given, carried = (
            layer(self.q, self.v, query_mask=valid),
            layer(fm.Masked(self.q, valid), self.v),
        )
        np.testing.assert_array_equal(given.mask.valid, valid)
        np.testing.assert_array_equal(given.data, carried.data)

    def test_dropout(self) -> None:
        layer = L.MultiHeadAttention(2, 3, dropout=0.5, seed=1)
        y, weights = layer(self.q, self.v, return_attention_scores=True, training=True)
        assert ((weights == 0).mean() - 0.5) ** 2 < 0.04
        assert not np.allclose(y, layer(self.q, self.v))
        dotted = L.Attention(dropout=1.0)
        assert (dotted([self.q, self.v], training=True) == 0).all()
        assert (dotted([self.q, self.v]) != 0).any()

    def test_words_in_sentences(self) -> None:
        x = self.random.normal(size=(B, 2, S, F))
        words = np.stack([self.mask, self.mask[::-1]], axis=1)
        layer = L.MultiHeadAttention(2, 3, attention_axes=2)
        y = layer(fm.Masked(x, words), x, value_mask=words)
        one = L.MultiHeadAttention(2, 3)
        one.build([(None, S, F)] * 2)
        one.set_weights(layer.get_weights())
        for sentence in range(2):
            own = fm.Masked(x[:, sentence], words[:, sentence])
            valid = words[:, sentence]
            np.testing.assert_allclose(
                y.data[:, sentence][valid], one(own, own).data[valid], atol=1e-6
            )

    def test_a_large_batch_is_as_its_rows(self) -> None:
        x = self.random.normal(size=(5, 200, F))
        valid = self.random.random((5, 200)) < 0.5
        layer = L.MultiHeadAttention(4, 3)  # scores of three rows do not fit into a part
        y, weights = layer(fm.Masked(x, valid), x, return_attention_scores=True)
        others = [L.Attention(), L.AdditiveAttention(use_scale=False)]
        few = fm.Masked(x, valid)
        wholes = [other([few, few]).data for other in others]
        for row in range(5):
            one = fm.Masked(x[row : row + 1], valid[row : row + 1])
            mine, theirs = layer(one, one.data, return_attention_scores=True)
            np.testing.assert_allclose(mine.data[0], y.data[row], atol=1e-5)
            np.testing.assert_allclose(theirs[0], weights[row], atol=1e-6)
            for other, whole in zip(others, wholes, strict=True):
                np.testing.assert_allclose(other([one, one]).data[0], whole[row], atol=1e-5)

    def test_nothing(self) -> None:
        assert self.layer()(self.q[:0], self.v[:0]).shape == (0, T, F)
        assert self.layer()(self.q[:, :0], self.v).shape == (B, 0, F)
        assert self.layer()(self.q, self.v[:, :0]).shape == (B, T, F)
        for layer in (L.Attention(), L.AdditiveAttention(), L.AdditiveAttention(False)):
            assert layer([self.q[:, :0], self.v]).shape == (B, 0, F)
            assert (layer([self.q, self.v[:, :0]]) == 0).all()
            assert layer([self.q[:0], self.v[:0]]).shape == (0, T, F)


X = np.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: L.Attention(score_mode="sum"), ValueError, "score_mode must be one of"),
        (lambda: L.Attention()(X), ValueError, "must be a list of query and value"),
        (lambda: L.Attention()([X]), ValueError, "query, value and key, not 1"),
        (
            lambda: L.Attention()([X, X[:, :, :3]]),
            ValueError,
            r"have shapes \(2, 3, 4\), \(2, 3, 3",
        ),
        (lambda: L.Attention()([X, X], mask=[X[:, :, 0]]), ValueError, "one mask for each of 2"),
        (lambda: L.Attention()([X, X], mask=X[:, :, 0]), ValueError, "one mask for each of 2"),
        (lambda: L.Attention()([X, X], use_causal_mask=2), TypeError, "use_causal_mask must be"),
        (lambda: L.MultiHeadAttention(0, 2), ValueError, "num_heads must be at least 1"),
        (lambda: L.MultiHeadAttention(2, 2, 0), ValueError, "value_dim must be at least 1"),
        (lambda: L.MultiHeadAttention(2, 2)(X, X[:1]), ValueError, "must be query"),
        (lambda: L.MultiHeadAttention(2, 2)(X, X, X[:, :2]), ValueError, "must be query"),
        (lambda: L.MultiHeadAttention(2, 2)(X[0], X[0]), ValueError, "attention_axes of layer"),
        (
            lambda: L.MultiHeadAttention(2, 2, attention_axes=0)(X, X),
            ValueError,
            "that of the batch",
        ),
        (
            lambda: L.MultiHeadAttention(2, 2)(X, X, attention_mask=np.ones((3, 3, 3))),
            ValueError,
            r"attention_mask of layer .* \(3, 3, 3\)",
        ),
        (
            lambda: L.MultiHeadAttention(2, 2)(X, X, attention_mask=np.full((3, 3), -np.inf)),
            ValueError,
            "attention_mask of layer .*additive",
        ),
        (
            lambda: L.MultiHeadAttention(2, 2)(X[None], X[None], use_causal_mask=True),
            ValueError,
            "use_causal_mask of layer .* one axis",
        ),
    ],
)
def test_misuse(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_features_of_another_number() -> None:
    layer = L.MultiHeadAttention(2, 2)
    layer(X, X)
    with pytest.raises(ValueError, match=r"value of layer .* must have 4 features"):
        layer(X, X[:, :, :2])
    with pytest.raises(ValueError, match=r"query of layer .* must have 4 features"):
        layer(fm.Input((3, 2)), fm.Input((3, 4)))
