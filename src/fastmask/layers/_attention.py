"""What the attention layers share: the weights of the steps, and which steps count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._typing import Array, Bools
from ._row_parts import row_parts, together


def attend(
    scores_of: Callable[[slice], Array],
    values: Array,
    valid: Bools | None,
    numbers: int,
    *,
    keep_weights: bool,
    none_is_zero: bool = False,
    drop: Callable[[Array], Array] | None = None,
) -> tuple[Array, Array | None]:
    """Means of values, weighted by exp(scores) over their sum along the last axis.

    Args:
        scores_of: the scores, (b, ..., T, S), of some rows of the batch.
        values: (B, ..., S, E).
        valid: which scores count; broadcast to all of them.
        numbers: scores in a row, to choose how many rows to compute at once.
        keep_weights: whether to return the weights.
        none_is_zero: whether the weights are 0 where no score is valid, rather than all equal.
        drop: applied to the weights in training.

    Returns:
        The means, (B, ..., T, E), and the weights, (B, ..., T, S), or None.
    """
    means, kept = [], []
    for part in row_parts(values, numbers):
        scores = scores_of(part)
        own = valid
        if valid is not None and valid.ndim == scores.ndim and len(valid) == len(values):
            own = valid[part]
        weights = _weights(scores, own, none_is_zero)
        weights = weights if drop is None else drop(weights)
        means.append(weights @ values[part])
        if keep_weights:
            kept.append(weights)
    return together(means), together(kept) if keep_weights else None


def _weights(scores: Array, valid: Bools | None, none_is_zero: bool) -> Array:
    if not scores.size:
        return scores
    if valid is not None:
        # Not -inf: the weights would be NaN where nothing is valid.
        scores = np.where(valid, scores, 0.7 * float(np.finfo(scores.dtype).min))
    with np.errstate(invalid="ignore"):  # infinite scores give NaN, as they should
        scores -= scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores, out=scores)
        weights /= weights.sum(axis=-1, keepdims=True)
    if none_is_zero and valid is not None:
        weights = np.where(valid, weights, weights.dtype.type(0))
    return weights


def causal(like: Array, queries: int, steps: int) -> Bools:
    """Which steps each query sees if it sees none after its own: (queries, steps)."""
    return np.tril(np.ones_like(like, dtype=np.bool_, shape=(queries, steps)))


def within(like: Array, queries: int, steps: int, window: int) -> Bools:
    """Which steps each query sees if it sees those less than `window` away: (queries, steps)."""
    every = np.ones_like(like, dtype=np.bool_, shape=(queries, steps))
    near: Bools = np.tril(every, window - 1) & ~np.tril(every, -window)
    return near


def finite_where_masked(x: Array, mask: Bools | None) -> Array:
    """`x` with non-finite numbers at masked steps set to 0: a weight of 0 would make them NaN."""
    if mask is None:
        return x
    steps = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    y: Array = np.where(steps | np.isfinite(x), x, x.dtype.type(0))
    return y


def dropping(rate: float, generator: np.random.Generator) -> Callable[[Array], Array]:
    """A function that sets a share of weights to 0 in training and scales up the others."""

    def drop(weights: Array) -> Array:
        if rate == 1.0:
            return np.zeros_like(weights)
        kept = generator.random(weights.shape, np.float32) >= rate
        y: Array = np.where(kept, weights / weights.dtype.type(1 - rate), weights.dtype.type(0))
        return y

    return drop
