"""The masked mean of a loss, and masked accuracy, against Keras's formulas."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fastmask as fm
from fastmask import losses, metrics

MASK = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
LOSS = np.random.default_rng(0).uniform(size=MASK.shape)
WEIGHTS = np.random.default_rng(1).uniform(size=MASK.shape)
ROWS = np.random.default_rng(2).uniform(size=len(MASK))
SCORES = np.random.default_rng(3).uniform(size=(*MASK.shape, 5))
CLASSES = np.random.default_rng(4).integers(0, 5, MASK.shape)
CLASSES[0, :2] = SCORES.argmax(-1)[0, :2]
CLASSES[2, 1] = SCORES.argmax(-1)[2, 1]
PROBABILITIES = np.random.default_rng(5).uniform(size=MASK.shape)
BITS = np.random.default_rng(6).integers(0, 2, MASK.shape)


class TestMaskedMean:
    def test_of_valid_steps(self) -> None:
        assert losses.masked_mean(LOSS, MASK) == pytest.approx(LOSS[MASK].mean())
        assert losses.masked_mean(LOSS, None) == pytest.approx(LOSS.mean())
        assert losses.masked_mean(fm.Masked(LOSS, MASK), None) == pytest.approx(LOSS[MASK].mean())
        assert isinstance(losses.masked_mean(LOSS, MASK.tolist()), float)

    def test_weights_multiply_only(self) -> None:
        expected = (LOSS * WEIGHTS)[MASK].sum() / MASK.sum()
        assert losses.masked_mean(LOSS, fm.Mask(MASK), WEIGHTS) == pytest.approx(expected)
        expected = (LOSS * ROWS[:, None])[MASK].sum() / MASK.sum()
        assert losses.masked_mean(LOSS, MASK, ROWS) == pytest.approx(expected)
        assert losses.masked_mean(LOSS, MASK, ROWS[:, None]) == pytest.approx(expected)
        assert losses.masked_mean(LOSS, None, WEIGHTS) == pytest.approx((LOSS * WEIGHTS).mean())

    def test_what_masked_steps_hold_does_not_matter(self) -> None:
        dirty = np.where(MASK, LOSS, np.nan)
        assert losses.masked_mean(dirty, MASK) == pytest.approx(LOSS[MASK].mean())
        assert np.isnan(losses.masked_mean(np.where(MASK, np.nan, LOSS), MASK))

    def test_of_several_values_a_step(self) -> None:
        assert losses.masked_mean(SCORES, MASK) == pytest.approx(SCORES[MASK].mean())
        weighted = losses.masked_mean(SCORES, MASK, WEIGHTS)
        assert weighted == pytest.approx((SCORES * WEIGHTS[:, :, None])[MASK].mean())

    def test_nothing_valid(self) -> None:
        assert losses.masked_mean(LOSS, np.zeros_like(MASK)) == 0.0
        assert losses.masked_mean(np.zeros((0, 4)), None) == 0.0

    def test_misuse(self) -> None:
        with pytest.raises(ValueError, match="mask has shape"):
            losses.masked_mean(LOSS, MASK.T)
        with pytest.raises(ValueError, match="sample_weight must have the shape of the values"):
            losses.masked_mean(LOSS, MASK, np.ones(4))
        with pytest.raises(TypeError, match="loss must hold real numbers"):
            losses.masked_mean(np.array([["a"]]), None)


class TestAccuracy:
    def test_sparse(self) -> None:
        right = SCORES.argmax(-1) == CLASSES
        assert 0 < right[MASK].mean() < 1
        share = metrics.sparse_categorical_accuracy
        assert share(CLASSES, SCORES) == pytest.approx(right.mean())
        assert share(CLASSES, SCORES, MASK) == pytest.approx(right[MASK].mean())
        assert share(CLASSES, fm.Masked(SCORES, MASK)) == pytest.approx(right[MASK].mean())
        assert share(CLASSES[..., None], SCORES, MASK) == pytest.approx(right[MASK].mean())
        expected = np.average(right[MASK], weights=WEIGHTS[MASK])
        assert share(CLASSES, SCORES, MASK, WEIGHTS) == pytest.approx(expected)
        expected = np.average(right, weights=np.broadcast_to(ROWS[:, None], right.shape))
        assert share(CLASSES, SCORES, sample_weight=ROWS) == pytest.approx(expected)

    def test_categorical(self) -> None:
        hot = np.eye(5)[CLASSES]
        expected = metrics.sparse_categorical_accuracy(CLASSES, SCORES, MASK, WEIGHTS)
        assert metrics.categorical_accuracy(hot, SCORES, MASK, WEIGHTS) == expected

    def test_binary(self) -> None:
        right = (PROBABILITIES > 0.5) == BITS
        share = metrics.binary_accuracy
        assert share(BITS, PROBABILITIES, MASK) == pytest.approx(right[MASK].mean())
        assert share(BITS, PROBABILITIES[..., None], MASK) == pytest.approx(right[MASK].mean())
        assert share(BITS[..., None], PROBABILITIES, MASK) == pytest.approx(right[MASK].mean())
        right = (PROBABILITIES > 0.8) == BITS
        assert share(BITS, PROBABILITIES, MASK, threshold=0.8) == pytest.approx(right[MASK].mean())

    def test_nothing_valid(self) -> None:
        assert metrics.binary_accuracy(BITS, PROBABILITIES, np.zeros_like(MASK)) == 0.0
        assert metrics.binary_accuracy(np.zeros((0, 2)), np.zeros((0, 2))) == 0.0

    def test_misuse(self) -> None:
        with pytest.raises(ValueError, match=r"y_true must have shape \(3, 4\)"):
            metrics.sparse_categorical_accuracy(CLASSES[:, :2], SCORES)
        with pytest.raises(ValueError, match="mask has shape"):
            metrics.binary_accuracy(BITS, PROBABILITIES, MASK.T)
        with pytest.raises(ValueError, match="y_pred must have shape"):
            metrics.categorical_accuracy([1, 0], [1, 0])


SCRIPT = """
import json, sys
import numpy as np, keras
from keras.src.backend.common.masking import set_keras_mask as set_mask
from tests import test_losses as t
mask = keras.ops.convert_to_tensor(t.MASK)
def masked(x):
    tensor = keras.ops.convert_to_tensor(x.astype("float32"))
    set_mask(tensor, mask)
    return tensor
class Given(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return y_pred
answers = {}
rows = np.repeat(t.ROWS[:, None], 4, 1)
for name, w in {"plain": None, "weights": t.WEIGHTS, "rows": rows}.items():
    answers[f"loss {name}"] = float(Given()(t.LOSS, masked(t.LOSS), w))
    for kind, true, pred in (
        ("SparseCategoricalAccuracy", t.CLASSES, t.SCORES),
        ("CategoricalAccuracy", np.eye(5)[t.CLASSES], t.SCORES),
        ("BinaryAccuracy", t.BITS, t.PROBABILITIES),
    ):
        metric = getattr(keras.metrics, kind)()
        metric.update_state(true, masked(pred), w)
        answers[f"{kind} {name}"] = float(metric.result())
print(json.dumps(answers))
"""


@pytest.mark.optional
def test_equals_keras() -> None:
    if not all(map(importlib.util.find_spec, ("keras", "torch"))):
        pytest.skip("needs the extras keras and torch")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == 12
    for name, weights in {"plain": None, "weights": WEIGHTS, "rows": ROWS}.items():
        hot = np.eye(5)[CLASSES]
        ours = {
            "loss": losses.masked_mean(LOSS, MASK, weights),
            "SparseCategoricalAccuracy": metrics.sparse_categorical_accuracy(
                CLASSES, SCORES, MASK, weights
            ),
            "CategoricalAccuracy": metrics.categorical_accuracy(hot, SCORES, MASK, weights),
            "BinaryAccuracy": metrics.binary_accuracy(BITS, PROBABILITIES, MASK, weights),
        }
        for kind, value in ours.items():
            assert value == pytest.approx(answers[f"{kind} {name}"], abs=1e-5), (kind, name)


def test_weights_of_masked_steps_are_not_looked_at() -> None:
    weights = [[1.0, np.nan]]
    accuracy = fm.metrics.binary_accuracy(
        [[1, 0]], [[0.9, np.nan]], mask=[[1, 0]], sample_weight=weights
    )
    assert accuracy == 1.0
    assert np.isfinite(fm.losses.masked_mean([[2.0, np.nan]], [[1, 0]], sample_weight=weights))


def test_two_masks_are_joined_by_and() -> None:
    loss = fm.Masked([[1.0, 3.0, 99.0]], [[1, 1, 0]])
    assert fm.losses.masked_mean(loss, mask=[[1, 0, 1]]) == 1.0
    assert fm.losses.masked_mean(loss, mask=[[0, 0, 1]]) == 0.0
    predicted = fm.Masked([[0.9, 0.2, 0.9]], [[1, 1, 0]])
    assert metrics.binary_accuracy([[1, 1, 0]], predicted, mask=[[1, 0, 1]]) == 1.0


def test_a_probability_at_the_threshold_means_0() -> None:
    assert metrics.binary_accuracy([[0]], [[0.5]]) == 1.0
    assert metrics.binary_accuracy([[1]], [[0.5]]) == 0.0
    assert metrics.binary_accuracy([[1, 0]], [[0.25, 0.25]], threshold=0.25) == 0.5


def test_masks_with_more_axes_than_values() -> None:
    scores = np.ones((2, 3, 4))
    with pytest.raises(ValueError, match=r"mask of shape \(2, 3, 4\) has more axes"):
        metrics.sparse_categorical_accuracy(np.ones((2, 3)), scores, mask=np.ones((2, 3, 4)))
