"""Softmax over the steps that exist."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._dispatch import real_array
from .._typing import Array
from ._elementwise import SameShape, along, axes_of, positive


class Softmax(SameShape):
    """exp(x) over its sum along an axis, among the valid steps only; passes masks on.

    Args:
        axis: the axis, or a list of axes; 1 for the time axis.
        name: see `Layer`.
        dtype: see `Layer`.

    Called with
        inputs: (B, T) or (B, T, ...).
        mask: (B, T), instead of the one that the inputs carry.

    Returns:
        An array of the same shape, zero at masked steps.

    Raises:
        TypeError: an axis is not an integer.
        ValueError: the inputs have no such axis.

    Source:
        Keras: `keras.layers.Softmax`, which fails on a mask (B, T) for inputs (B, T, F).

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Masked([[[1.0], [1.0], [9.0]]], [[1, 1, 0]])
        >>> fm.layers.Softmax(axis=1)(x).data.tolist()
        [[[0.5], [0.5], [0.0]]]
    """

    _options = ("axis",)

    def __init__(self, axis: int | list[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axes_of(axis, "axis")

    def call(self, inputs: Any, mask: Any = None) -> Array:
        """See the class."""
        x = real_array(inputs, "inputs", self._dtype)
        axes = positive(self.axis, x.ndim, self.name)
        if mask is not None:
            x = np.where(along(mask, x.ndim), x, x.dtype.type(-np.inf))
        top = x.max(axis=axes, keepdims=True, initial=-np.inf)
        if mask is not None:
            top[np.isneginf(top)] = 0  # nothing is valid there
        with np.errstate(invalid="ignore"):  # infinite inputs give NaN, as they should
            powers = np.exp(x - top)
            total = powers.sum(axis=axes, keepdims=True)
            if mask is not None:
                total[total == 0] = 1
            y: Array = powers / total
        return y
