"""The mean of a loss over the steps that exist."""

from __future__ import annotations

import numpy as np

from ._typing import ArrayLike
from .masks.masked import Masked
from .masks.weighting import unpacked, weights_of


def masked_mean(
    loss: ArrayLike | Masked, mask: ArrayLike | None, sample_weight: ArrayLike | None = None
) -> float:
    """The mean of a loss over the valid steps, as Keras reduces it in training.

    Args:
        loss: (B, T) or (B, T, ...), the loss of each step; a `Masked`'s own mask counts too.
        mask: (B, T), or None for a mean over all steps.
        sample_weight: (B,), (B, 1), (B, T) or the shape of the loss. It multiplies the loss but
            is not divided by: the mean is sum(loss * weight) / number of valid values.

    Returns:
        The mean; 0 if no step is valid. Values at masked steps, even NaN, do not matter.

    Raises:
        TypeError: an argument does not hold real numbers.
        ValueError: the mask or the weights do not fit the loss.

    Source:
        Keras: `keras.losses.Loss` with reduction "sum_over_batch_size", for which a NaN at a
        masked step does matter, and weights of rows need the shape of the mask.

    Examples:
        >>> from fastmask import losses
        >>> losses.masked_mean([[1.0, 3.0, 99.0], [5.0, 99.0, 99.0]], [[1, 1, 0], [1, 0, 0]])
        3.0
    """
    values, valid = unpacked(loss, mask, "loss")
    weights = weights_of(values.shape, valid, sample_weight)
    count = values.size
    if valid is not None:
        count = int(np.count_nonzero(valid)) * int(np.prod(values.shape[valid.ndim :]))
    if not count:
        return 0.0
    if weights is None:
        return float(values.sum() / count)
    return float(np.where(weights != 0, values * weights, 0.0).sum() / count)
