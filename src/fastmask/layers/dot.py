"""Products of two arrays, row by row of the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._checks import flag
from .._typing import Array, Shape, Unpack
from ._elementwise import axes_of, positive
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._merge import Merge
from ._normalizing import KERAS_EPSILON, to_length_one
from ._types import ListOfMasks


class Dot(Merge):
    """The dot products along an axis of each of two inputs; drops masks.

    Args:
        axes: the axis, or the axis of either input; not the batch axis.
        normalize: whether the vectors get length 1 first, which gives cosines.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: list of two arrays (B, ...).

    Returns:
        (B, ...): the axes of the first input, then those of the second, without the summed ones;
        (B, 1) if none is left.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: the inputs are not two, or do not fit together.

    Source:
        Keras: `keras.layers.Dot`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Dot(axes=2)([np.ones((5, 3, 4)), np.ones((5, 2, 4))]).shape
        (5, 3, 2)
    """

    _way = "apart"
    _most = 2
    _options = ("axes", "normalize")

    def __init__(
        self,
        axes: int | list[int],
        normalize: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.axes = axes_of(axes, "axes")
        if isinstance(self.axes, list) and len(self.axes) != 2:
            raise ValueError(f"axes must be an integer or two of them, not {axes!r}")
        self.normalize = flag(normalize, "normalize")

    def compute_mask(self, inputs: Sequence[Array], mask: ListOfMasks = None) -> None:  # noqa: ARG002 - Keras's form
        """None, as in Keras; masks of the inputs are lost."""
        if mask is not None:
            self._warn_of_loss(None)

    def _how_lost(self) -> str:
        return Layer._how_lost(self)

    def _merge(self, arrays: list[Array]) -> Array:
        x, y = arrays
        first, second = self._both((x.shape, y.shape))
        if self.normalize:
            x = to_length_one(x.astype(self._dtype, copy=False), (first,), KERAS_EPSILON)
            y = to_length_one(y.astype(self._dtype, copy=False), (second,), KERAS_EPSILON)
        x = x.transpose([*(a for a in range(x.ndim) if a != first), first])
        y = y.transpose([0, second, *(a for a in range(1, y.ndim) if a != second)])
        size = x.shape[-1]
        rows = math.prod(x.shape[1:-1]), math.prod(y.shape[2:])
        product = x.reshape(len(x), rows[0], size) @ y.reshape(len(y), size, rows[1])
        return product.reshape(len(x), *(x.shape[1:-1] + y.shape[2:] or (1,)))

    def _merged_shape(self, shapes: Sequence[Shape]) -> Shape:
        first, second = self._both(shapes)
        one, two = list(shapes[0]), list(shapes[1])
        if any(None not in ns and ns[0] != ns[1] for ns in [(one[first], two[second])]) or (
            None not in (one[0], two[0]) and one[0] != two[0]
        ):
            raise self._misfit(shapes)
        del one[first], two[second]
        batch = one[0] if one[0] is not None else two[0]
        return (batch, *(one[1:] + two[1:] or [1]))

    def _both(self, shapes: Sequence[Shape]) -> tuple[int, int]:
        given = self.axes if isinstance(self.axes, list) else [self.axes] * 2
        first, second = (
            positive(axis, len(shape), self.name)[0]
            for axis, shape in zip(given, shapes, strict=True)
        )
        if not first or not second:
            raise ValueError(f"axes of layer {self.name!r} must not name the batch axis: {given}")
        return first, second
