"""The axes of multi-head attention's inputs, and the masks of their steps."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array, ArrayLike, Bools, Shape
from ..backends.dispatch import as_array
from ..masks.validity import checked_mask
from ._elementwise import along
from ._shapes import broadcasts


class Heads(NamedTuple):
    """Which axes of inputs (B, ..., F) are steps that attend to each other, and which are not.

    The latter are `rows`: like the batch axis, each has an attention of its own.
    """

    rows: tuple[int, ...]
    steps: tuple[int, ...]

    def apart(self, x: Array) -> Array:
        """(B, ..., N, H) as (B, rows, N, S, H), with all steps on one axis."""
        x = x.transpose(*self._order(x.ndim))
        first, last = 2 + len(self.rows), x.shape[-1]
        return x.reshape(*x.shape[:first], math.prod(x.shape[first:-1]), last)

    def together(self, y: Array, like: tuple[int, ...]) -> Array:
        """(B, rows, N, S, H) as (B, ..., N, H), the inverse, for inputs of shape `like`."""
        steps = [like[axis] for axis in self.steps]
        y = y.reshape(*y.shape[: 2 + len(self.rows)], *steps, y.shape[-1])
        order = self._order(y.ndim)
        return y.transpose(*(order.index(axis) for axis in range(y.ndim)))

    def mask(self, mask: Bools, like: tuple[int, ...]) -> Bools:
        """The mask of inputs of shape `like`, (B, T) or with more axes, as (B, rows, 1, S)."""
        if mask.ndim < len(like) - 1:
            mask = np.broadcast_to(along(mask, len(like) - 1), like[:-1])
        mask = mask.transpose(0, *self.rows, *self.steps)
        first = 1 + len(self.rows)
        return mask.reshape(*mask.shape[:first], 1, math.prod(mask.shape[first:]))

    def scores_shape(self, query: Shape, value: Shape, heads: int) -> Any:
        """The shape of weights, with all axes of the steps."""
        rows = (query[axis] for axis in (0, *self.rows))
        each = (shape[axis] for shape in (query, value) for axis in self.steps)
        return (*rows, heads, *each)

    def given(self, mask: ArrayLike, shape: tuple[int, ...], layer: str) -> Bools:
        """The argument `attention_mask` in a shape that broadcasts to all scores.

        Args:
            mask: (T, S), (B, T, S) or (B, N, T, S).
            shape: shape of the scores, with all axes of the steps.
            layer: the layer's name, for messages.

        Raises:
            TypeError: it does not hold numbers.
            ValueError: it does not fit.
        """
        try:
            array = checked_mask(as_array(mask, "mask")).astype(np.bool_)
        except (TypeError, ValueError) as error:
            raise type(error)(f"attention_mask of layer {layer!r}: {error}") from None
        axes = len(self.steps)
        first, last = array.shape[: -2 * axes], array.shape[-2 * axes :]
        full: Any = (*first, *(1,) * (len(shape) - array.ndim), *last)
        if array.ndim < 2 * axes or not broadcasts(full, shape):
            raise ValueError(
                f"attention_mask of layer {layer!r} has shape {array.shape}, but must have "
                f"{shape}, the same without the heads, or the last {2 * axes} axes of it"
            )
        if axes > 1:  # all steps on one axis
            array = np.broadcast_to(array.reshape(full), (*full[: -2 * axes], *shape[-2 * axes :]))
            sizes = array.shape[-2 * axes : -axes], array.shape[-axes:]
            full = (*full[: -2 * axes], *map(math.prod, sizes))
        return array.reshape(full)

    def _order(self, axes: int) -> list[int]:
        return [0, *self.rows, axes - 2, *self.steps, axes - 1]
