"""Normalisation by the root mean square."""

from __future__ import annotations

import numpy as np

from .._typing import Array, ArrayLike, Bools, Unpack
from ._keras_arguments import LayerArguments
from ._normalizing import Scaled, counting, mixes_steps, moments


class RMSNormalization(Scaled):
    """Root mean square 1 over the features of every step; passes masks on.

    Over axes that include the time axis, masked steps do not count in the mean.

    Args:
        axis: the axis, or a list of axes, of which the mean is taken.
        epsilon: added to the mean of the squares.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ..., F).
        mask: (B, T), instead of the one that the inputs carry.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: the inputs do not fit.

    Source:
        Keras: `keras.layers.RMSNormalization`, in which masks are lost; Zhang and Sennrich, 2019.
        Weight: the scale, of the axes' sizes.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.RMSNormalization(epsilon=0)([[3.0, 4.0, 0.0, 0.0]])
        array([[1.2, 1.6, 0. , 0. ]], dtype=float32)
    """

    _options = ("axis", "epsilon")

    def __init__(
        self,
        axis: int | list[int] = -1,
        epsilon: float = 1e-6,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        # What others call gamma is its scale.
        super().__init__(*(axis, epsilon, False, True, "zeros", "ones"), **layer_args)

    def call(self, inputs: ArrayLike, mask: Bools | None = None) -> Array:
        x = self._fitting(inputs)
        valid = counting(mask, x, self._axes)
        squares, _ = moments(np.square(x), self._axes, valid)
        if valid is not None:
            squares = np.where(valid.any(axis=self._axes, keepdims=True), squares, 1)
        return self._scaled(x, np.zeros_like(squares), squares)

    def _uses_mask(self, axes: int) -> bool:
        return mixes_steps(self._axes, axes)
