"""Weights of steps, from a mask and from sample weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import FLOAT64, Array, Bools
from ..backends.dispatch import real_array
from .mask import fitting_mask
from .masked import Masked


def unpacked(value: Any, mask: Any, name: str) -> tuple[Array, Bools | None]:
    """An array as float64, and its mask: its own, the given one, or where both say valid.

    Raises:
        TypeError: it does not hold real numbers.
        ValueError: the mask does not fit.
    """
    own = value.mask if isinstance(value, Masked) else None
    array = real_array(value.data if isinstance(value, Masked) else value, name, FLOAT64)
    given = None if mask is None else fitting_mask(mask, array.shape, name).valid
    if own is None or given is None:
        return array, given if own is None else own.valid
    ndim = max(own.ndim, given.ndim)
    return array, _up_to(own.valid, ndim) & _up_to(given, ndim)


def weights_of(shape: tuple[int, ...], mask: Bools | None, sample_weight: Any) -> Array | None:
    """One weight for each value: zero where masked; None for no mask and no weights.

    Raises:
        TypeError: `sample_weight` does not hold real numbers.
        ValueError: it has another shape.
    """
    weights: Array | None = None
    if sample_weight is not None:
        given = real_array(sample_weight, "sample_weight", FLOAT64)
        if given.ndim == 2 and given.shape[1:] == (1,) and len(shape) > 1:
            given = given[:, 0]
        if not given.ndim or given.shape != shape[: given.ndim]:
            raise ValueError(
                f"sample_weight must have the shape of the values, {shape}, or that without its "
                f"last axes, not {given.shape}"
            )
        weights = given
    if mask is not None and mask.ndim > len(shape):
        raise ValueError(f"mask of shape {mask.shape} has more axes than the values, {shape}")
    if mask is not None:  # the weights of masked steps do not matter
        given = np.ones(len(mask)) if weights is None else weights
        ndim = max(mask.ndim, given.ndim)
        weights = np.where(_up_to(mask, ndim), _up_to(given, ndim), 0.0)
    if weights is None:
        return None
    return np.broadcast_to(_up_to(weights, len(shape)), shape)


def _up_to(array: Array, ndim: int) -> Array:
    return array.reshape(array.shape + (1,) * (ndim - array.ndim))
