"""Layers that keep the shape of their inputs, and the argument `axis`."""

from __future__ import annotations

import operator
from typing import Any

from .._typing import Array, Shape
from ._layer import Layer


class SameShape(Layer):
    """Base of the layers whose output has the inputs' shape and mask."""

    _takes_lists = False
    supports_masking = _keeps_steps = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)


def axes_of(value: Any, name: str) -> int | list[int]:
    """`value` as an int, or as a list of ints.

    Raises:
        TypeError: it is neither.
    """
    try:
        if isinstance(value, (list, tuple)):
            return [operator.index(axis) for axis in value]
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer or a list of these, not {value!r}") from None


def one_axis(value: object) -> int:
    """The argument `axis` as an int.

    Raises:
        TypeError: it is not an integer.
    """
    axis = axes_of(value, "axis")
    if isinstance(axis, list):
        raise TypeError(f"axis must be an integer, not {value!r}")
    return axis


def positive(axes: int | list[int], ndim: int, layer: str) -> tuple[int, ...]:
    """The axes of an array with `ndim` axes, as numbers from 0 on in ascending order.

    Raises:
        ValueError: the array has no such axis, or one is named twice.
    """
    listed = axes if isinstance(axes, list) else [axes]
    if any(not -ndim <= axis < ndim for axis in listed):
        raise ValueError(f"axis of layer {layer!r} is {axes}, but its inputs have {ndim} axes")
    found = sorted(axis % ndim for axis in listed)
    if len(set(found)) < len(found):
        raise ValueError(f"axis of layer {layer!r} must not name an axis twice: {axes}")
    return tuple(found)


def way_by_axes(axes: int | list[int], ndim: int, layer: str, otherwise: str) -> str:
    """How a layer that works along axes handles a `Ragged`; `otherwise` if along its steps."""
    first = min(positive(axes, ndim, layer), default=2)
    return "steps" if first >= 2 else otherwise if first else "none"  # of the rows themselves


def known_size(input_shape: Shape, axis: int, layer: str) -> int:
    """The size of an axis for which there are weights.

    Raises:
        ValueError: it is not known.
    """
    size = input_shape[axis]
    if size is None:
        raise ValueError(
            f"axis {axis} of the inputs of layer {layer!r} must have a known size, because there "
            f"are weights for it, but input_shape is {tuple(input_shape)}"
        )
    return size


def along(mask: Array, ndim: int) -> Array:
    """A mask (B, T, ...) with axes of size 1 appended up to `ndim` axes."""
    return mask.reshape(mask.shape + (1,) * (ndim - mask.ndim))
