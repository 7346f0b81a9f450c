"""Concatenation of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._typing import Array, Bools, Shape, Unpack
from ._elementwise import along, one_axis, positive, way_by_axes
from ._keras_arguments import LayerArguments
from ._merge import Merge, number_of_axes, union
from ._types import ListOfMasks


class Concatenate(Merge):
    """Concatenates its inputs along an axis, and their masks.

    Along the features a step is valid if it is valid in any input; along time each step keeps its
    flag. An input without a mask counts as valid, unless no input has one.

    Args:
        axis: the axis; 1 for the time axis.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: list of arrays, whose sizes differ along the axis only.

    Returns:
        An array; `Masked` where an input is.

    Raises:
        TypeError: the axis is not an integer, or the inputs do not hold real numbers.
        ValueError: the inputs do not fit together.

    Source:
        Keras: `keras.layers.Concatenate`.

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Masked([[1.0, 2.0]], [[1, 0]])
        >>> y = fm.layers.Concatenate(axis=1)([x, x.data])
        >>> y.data, y.mask.valid
        (array([[1., 2., 1., 2.]], dtype=float32), array([[ True, False,  True,  True]]))
    """

    _broadcasts = False
    _options = ("axis",)

    def __init__(
        self,
        axis: int = -1,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.axis = one_axis(axis)

    def compute_mask(self, inputs: Sequence[Array], mask: ListOfMasks = None) -> Bools | None:
        """The masks one after the other, or, along the features, their union.

        Raises:
            ValueError: inputs and masks are not lists of the same length.
        """
        if mask is None:
            return None
        self._check_lists(inputs, mask)
        if all(one is None for one in mask):
            return None
        axes = max([number_of_axes(one) for one in mask if one is not None])
        masks = [
            np.ones_like(x, np.bool_, shape=np.shape(x)[:axes]) if one is None else one
            for x, one in zip(inputs, mask, strict=True)
        ]
        (axis,) = positive(self.axis, number_of_axes(inputs[0]), self.name)
        if axis >= axes:
            return union(masks)
        whole = [
            one
            if number_of_axes(one) == axes
            else np.broadcast_to(along(one, axes), np.shape(x)[:axes])
            for x, one in zip(inputs, masks, strict=True)
        ]
        return np.concatenate(whole, axis)

    def _ragged_way(self, ndim: int) -> str:
        return way_by_axes(self.axis, ndim, self.name, "rows")

    def _merge(self, arrays: list[Array]) -> Array:
        return np.concatenate(arrays, self.axis)

    def _merged_shape(self, shapes: Sequence[Shape]) -> Shape:
        ndim = len(shapes[0])
        if any(len(shape) != ndim for shape in shapes):
            raise self._misfit(shapes)
        (axis,) = positive(self.axis, ndim, self.name)
        merged: list[int | None] = []
        for a, sizes in enumerate(zip(*shapes, strict=True)):
            known = [n for n in sizes if n is not None]
            if a == axis:
                merged.append(sum(known) if len(known) == len(sizes) else None)
            elif len(set(known)) > 1:
                raise self._misfit(shapes)
            else:
                merged.append(known[0] if known else None)
        return tuple(merged)
