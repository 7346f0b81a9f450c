"""What the attention layers share: weights of steps, and which of them count."""

from __future__ import annotations

import numpy as np

from .._typing import Array, Bools


def attention_weights(scores: Array, valid: Bools | None, *, none_is_zero: bool = False) -> Array:
    """exp(scores) over their sum along the last axis, among the valid ones.

    Args:
        scores: (..., S).
        valid: which of them count; broadcast to the scores.
        none_is_zero: whether the weights are 0 where none is valid, and not all alike.
    """
    if not scores.size:
        return scores
    if valid is not None:
        # Not -inf, of which the weights would be NaN where nothing is valid.
        scores = np.where(valid, scores, 0.7 * float(np.finfo(scores.dtype).min))
    with np.errstate(invalid="ignore"):  # infinite scores give NaN, as they should
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights: Array = powers / powers.sum(axis=-1, keepdims=True)
    if none_is_zero and valid is not None:
        weights = np.where(valid, weights, weights.dtype.type(0))
    return weights


def causal(like: Array, queries: int, steps: int) -> Bools:
    """Which steps each query sees if it sees none after itself: (queries, steps)."""
    return np.tril(np.ones_like(like, dtype=np.bool_, shape=(queries, steps)))


def within(like: Array, queries: int, steps: int, window: int) -> Bools:
    """Which steps each query sees if it sees those less than `window` away: (queries, steps)."""
    every = np.ones_like(like, dtype=np.bool_, shape=(queries, steps))
    near: Bools = np.tril(every, window - 1) & ~np.tril(every, -window)
    return near


def finite_where_masked(x: Array, mask: Bools | None) -> Array:
    """`x` with zeros for what is not finite at masked steps: with weights of 0 it would be NaN."""
    if mask is None:
        return x
    steps = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    y: Array = np.where(steps | np.isfinite(x), x, x.dtype.type(0))
    return y


def dropped(weights: Array, rate: float, generator: np.random.Generator) -> Array:
    """The weights in training: a share of them 0, and the others larger."""
    if not rate:
        return weights
    if rate == 1.0:
        return np.zeros_like(weights)
    kept = generator.random(weights.shape, np.float32) >= rate
    y: Array = np.where(kept, weights / weights.dtype.type(1 - rate), weights.dtype.type(0))
    return y
