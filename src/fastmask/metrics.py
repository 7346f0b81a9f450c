"""Accuracy over the steps that exist."""

from __future__ import annotations

from ._checks import real_number
from ._typing import Array, ArrayLike, Bools
from .backends.dispatch import real_array
from .masks.masked import Masked
from .masks.weighting import unpacked, weights_of


def binary_accuracy(
    y_true: ArrayLike,
    y_pred: ArrayLike | Masked,
    mask: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    threshold: float = 0.5,
) -> float:
    """The share of valid steps at which a probability is on the right side of a threshold.

    Args:
        y_true: (B, T) or (B, T, C), 0 or 1.
        y_pred: probabilities of the same shape; either may have an additional last axis of size 1.
            If it is a `Masked`, its mask counts.
        mask: (B, T).
        sample_weight: (B,), (B, 1) or (B, T); the share is weighted by it.
        threshold: what a probability must exceed to mean 1.

    Returns:
        The share, 0 to 1; 0 if no step is valid.

    Raises:
        TypeError: an argument does not hold real numbers.
        ValueError: the shapes do not fit.

    Source:
        Keras: `keras.metrics.BinaryAccuracy`.

    Examples:
        >>> from fastmask import metrics
        >>> metrics.binary_accuracy([[1, 0, 0]], [[0.9, 0.7, 0.6]], mask=[[1, 1, 0]])
        0.5
    """
    limit = real_number(threshold, "threshold")
    predicted, valid = unpacked(y_pred, mask, "y_pred")
    true = real_array(y_true, "y_true", predicted.dtype)
    if true.ndim == predicted.ndim + 1 and true.shape[-1] == 1:
        true = true[..., 0]
    elif predicted.ndim == true.ndim + 1 and predicted.shape[-1] == 1:
        predicted = predicted[..., 0]
    return _share((predicted > limit) == _same_shape(true, predicted.shape), valid, sample_weight)


def categorical_accuracy(
    y_true: ArrayLike,
    y_pred: ArrayLike | Masked,
    mask: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """The share of valid steps at which the most likely class is the right one.

    Args:
        y_true: (B, T, C) or (B, C), one-hot or probabilities.
        y_pred: probabilities or scores of the same shape. If it is a `Masked`, its mask
            counts.
        mask: (B, T).
        sample_weight: (B,), (B, 1) or (B, T); the share is weighted by it.

    Returns:
        The share, 0 to 1; 0 if no step is valid.

    Raises:
        TypeError: an argument does not hold real numbers.
        ValueError: the shapes do not fit.

    Source:
        Keras: `keras.metrics.CategoricalAccuracy`.

    Examples:
        >>> from fastmask import metrics
        >>> metrics.categorical_accuracy([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]])
        0.5
    """
    scores, valid = unpacked(y_pred, mask, "y_pred")
    true = _same_shape(real_array(y_true, "y_true", scores.dtype), scores.shape)
    return _share(_likeliest(scores) == _likeliest(true), valid, sample_weight)


def sparse_categorical_accuracy(
    y_true: ArrayLike,
    y_pred: ArrayLike | Masked,
    mask: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """The share of valid steps at which the most likely class is the right one, given by number.

    Args:
        y_true: (B, T) or (B,), numbers of classes; a last axis of size 1 may follow.
        y_pred: probabilities or scores, (B, T, C) or (B, C). If it is a `Masked`, its mask
            counts.
        mask: (B, T).
        sample_weight: (B,), (B, 1) or (B, T); the share is weighted by it.

    Returns:
        The share, 0 to 1; 0 if no step is valid.

    Raises:
        TypeError: an argument does not hold real numbers.
        ValueError: the shapes do not fit.

    Source:
        Keras: `keras.metrics.SparseCategoricalAccuracy`.

    Examples:
        >>> from fastmask import metrics
        >>> metrics.sparse_categorical_accuracy([1, 0], [[0.2, 0.8], [0.3, 0.7]])
        0.5
    """
    scores, valid = unpacked(y_pred, mask, "y_pred")
    true = real_array(y_true, "y_true", scores.dtype)
    if true.ndim == scores.ndim and true.shape[-1] == 1:
        true = true[..., 0]
    return _share(_likeliest(scores) == _same_shape(true, scores.shape[:-1]), valid, sample_weight)


def _share(right: Array, valid: Bools | None, sample_weight: ArrayLike | None) -> float:
    weights = weights_of(right.shape, valid, sample_weight)
    if weights is None:
        return float(right.mean()) if right.size else 0.0
    total = float(weights.sum())
    return float((right * weights).sum() / total) if total else 0.0


def _likeliest(scores: Array) -> Array:
    if scores.ndim < 2 or not scores.shape[-1]:
        raise ValueError(f"y_pred must have shape (batch, ..., classes), not {scores.shape}")
    best: Array = scores.argmax(axis=-1)
    return best


def _same_shape(true: Array, shape: tuple[int, ...]) -> Array:
    if true.shape != shape:
        raise ValueError(f"y_true must have shape {shape} to fit y_pred, not {true.shape}")
    return true
