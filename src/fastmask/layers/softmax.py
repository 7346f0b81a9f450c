"""Softmax over the steps that exist."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ..backends.dispatch import as_array, real_array
from ..masks.mask import Mask, known_mask
from ..masks.validity import checked_mask
from ._elementwise import SameShape, along, axes_of, positive, way_by_axes
from ._keras_arguments import LayerArguments
from ._shapes import broadcasts
from ._types import MaskLike


class Softmax(SameShape):
    """exp(x) over its sum along an axis, among the valid steps only; passes masks on.

    Args:
        axis: the axis, or a list of axes; 1 for the time axis.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T) or (B, T, ...).
        mask: (B, T), instead of the one that the inputs carry; or of any shape that broadcasts to
            the inputs', and then says which numbers count.

    Returns:
        An array of the same shape, zero where masked. It carries the mask (B, T); for any other
        mask, the mask of the steps with a number that counts.

    Raises:
        TypeError: an axis is not an integer.
        ValueError: the inputs have no such axis, or the mask does not fit.

    Source:
        Keras: `keras.layers.Softmax`, which fails on a mask (B, T) for inputs (B, T, F).

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Masked([[[1.0], [1.0], [9.0]]], [[1, 1, 0]])
        >>> fm.layers.Softmax(axis=1)(x).data.tolist()
        [[[0.5], [0.5], [0.0]]]
    """

    _options = ("axis",)
    _any_mask = True

    def __init__(
        self,
        axis: int | list[int] = -1,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.axis = axes_of(axis, "axis")

    def _check_input_shape(self, shape: Shape) -> None:
        positive(self.axis, len(shape), self.name)

    def _ragged_way(self, ndim: int) -> str:
        return way_by_axes(self.axis, ndim, self.name, "rows")

    def call(self, inputs: ArrayLike, mask: Bools | None = None) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        axes = positive(self.axis, x.ndim, self.name)
        if not x.size:
            return x
        if mask is not None:
            if mask.ndim > 1 and mask.shape == x.shape[: mask.ndim]:
                mask = along(mask, x.ndim)
            x = np.where(mask, x, x.dtype.type(-np.inf))
        top = x.max(axis=axes, keepdims=True)
        if mask is not None:
            top[np.isneginf(top)] = 0  # nothing is valid there
        with np.errstate(invalid="ignore"):  # infinite inputs give NaN, as they should
            powers = np.exp(x - top)
            total = powers.sum(axis=axes, keepdims=True)
            if mask is not None:
                total[total == 0] = 1
            y: Array = powers / total
        return y

    def compute_mask(self, inputs: Array, mask: Bools | None = None) -> Any:
        """The mask (B, T); for any other, the mask of the steps with a number that counts."""
        shape = np.shape(inputs)
        if mask is None or known_mask(mask) is not None:
            return mask
        axes = np.ndim(mask)
        if (axes == 2 or 2 < axes < len(shape)) and np.shape(mask) == shape[:axes]:
            return mask
        return np.broadcast_to(mask, shape).any(axis=tuple(range(2, len(shape))))

    def _explicit(self, mask: MaskLike, inputs: Any) -> Any:
        array = as_array(mask, "mask")
        fits = isinstance(mask, Mask) and array.shape == inputs.shape[: array.ndim]
        if fits or self._is_of_steps(array.shape, inputs.shape):
            return super()._explicit(mask, inputs)
        if not broadcasts(array.shape, inputs.shape):
            raise ValueError(
                f"mask has shape {array.shape}, but the input of layer {self.name!r} has shape "
                f"{inputs.shape}: it must be that shape, its first two axes, or broadcast to it"
            )
        return _Elements(checked_mask(array).astype(np.bool_))

    @staticmethod
    def _is_of_steps(shape: Shape, inputs: Shape) -> bool:
        """Whether a mask of that shape says which steps are valid, and not which numbers count."""
        axes = len(shape)
        if axes == 2 or 2 < axes < len(inputs):
            return shape == inputs[:axes]
        return shape == (*inputs[:2], 1)


class _Elements(NamedTuple):
    """Says which numbers count, as a `Mask` says which steps do."""

    valid: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.valid.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.valid.size
