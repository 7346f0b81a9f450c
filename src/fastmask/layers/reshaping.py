"""Layers that rearrange an array, for which a mask has no meaning: they drop it, and warn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from .._checks import whole_number
from .._typing import Array, ArrayLike, Shape, Unpack
from ..backends.dispatch import as_array
from ._keras_arguments import LayerArguments
from ._layer import Layer
from .pooling import as_data_format


class Flatten(Layer):
    """Flattens all axes after the batch axis into one; drops masks.

    Args:
        data_format: "channels_last", which None means too, or "channels_first", which moves
            the second axis to the end first.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ...).

    Returns:
        (B, N).

    Raises:
        ValueError: the data format is unknown, or the inputs have no axis.

    Source:
        Keras: `keras.layers.Flatten`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Flatten()(np.ones((2, 3, 4))).shape
        (2, 12)
    """

    _way = "none"
    _takes_lists = False
    _options = ("data_format",)

    def __init__(
        self,
        data_format: str | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.data_format = as_data_format(data_format)

    def call(self, inputs: ArrayLike) -> Array:
        x = with_axes(inputs, None, self.name)
        if self.data_format == "channels_first" and x.ndim > 1:
            x = np.moveaxis(x, 1, -1)
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], _product(input_shape[1:])


class Reshape(Layer):
    """Reshapes the axes after the batch axis; drops masks.

    Args:
        target_shape: the shape, without the batch axis; at most one size may be -1.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ...).

    Returns:
        (B, *target_shape).

    Raises:
        TypeError: a size is not an integer.
        ValueError: a size is less than -1, two are -1, or the inputs do not fit.

    Source:
        Keras: `keras.layers.Reshape`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Reshape((2, -1))(np.ones((5, 6))).shape
        (5, 2, 3)
    """

    _way = "none"
    _takes_lists = False
    _options = ("target_shape",)

    def __init__(
        self,
        target_shape: Sequence[int],
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.target_shape = _whole_numbers(target_shape, "target_shape", -1)
        if self.target_shape.count(-1) > 1:
            raise ValueError(f"target_shape must have at most one -1, not {target_shape}")

    def call(self, inputs: ArrayLike) -> Array:
        x = with_axes(inputs, None, self.name)
        sizes: list[int] = [int(n) for n in self._resolved(x.shape) if n is not None]
        return x.reshape(len(x), *sizes)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self._resolved(input_shape))

    def _resolved(self, shape: Shape) -> list[int | None]:
        """The target shape with the size that -1 stands for; None if it is not known."""
        size = _product(shape[1:])
        known = math.prod(n for n in self.target_shape if n != -1)
        free = -1 in self.target_shape
        if size is None:
            return [None if n == -1 else n for n in self.target_shape]
        if (size % known if free and known else size != known) or (free and not known):
            raise ValueError(
                f"inputs of layer {self.name!r} have shape {tuple(shape)}, which cannot be "
                f"reshaped to (batch, {', '.join(map(str, self.target_shape))})"
            )
        return [size // known if n == -1 else n for n in self.target_shape]


class Permute(Layer):
    """Permutes the axes after the batch axis; drops masks.

    Args:
        dims: the order; the first axis after the batch axis is 1. (2, 1) swaps time and
            features.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ...).

    Returns:
        The same numbers in another order.

    Raises:
        TypeError: `dims` does not hold integers.
        ValueError: `dims` is not a permutation, or the inputs have another number of axes.

    Source:
        Keras: `keras.layers.Permute`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Permute((2, 1))(np.ones((5, 3, 4))).shape
        (5, 4, 3)
    """

    _way = "none"
    _takes_lists = False
    _options = ("dims",)

    def __init__(
        self,
        dims: Sequence[int],
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.dims = _whole_numbers(dims, "dims", 1)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"dims must hold each of 1, 2, ... once, not {tuple(dims)}")
        self._input_axes = len(self.dims) + 1

    def call(self, inputs: ArrayLike) -> Array:
        return with_axes(inputs, len(self.dims) + 1, self.name).transpose(0, *self.dims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], *(input_shape[axis] for axis in self.dims)


class RepeatVector(Layer):
    """Repeats a vector as every step of a sequence; drops masks.

    Args:
        n: the number of steps.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, F).

    Returns:
        (B, n, F).

    Raises:
        TypeError: `n` is not an integer.
        ValueError: `n` is less than 1, or the inputs have another number of axes.

    Source:
        Keras: `keras.layers.RepeatVector`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.RepeatVector(2)([[1.0, 2.0]])
        array([[[1., 2.],
                [1., 2.]]], dtype=float32)
    """

    _way = "none"
    _takes_lists = False
    _input_axes = 2
    _options = ("n",)

    def __init__(
        self,
        n: int,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.n = whole_number(n, "n", 1)

    def call(self, inputs: ArrayLike) -> Array:
        return np.repeat(with_axes(inputs, 2, self.name)[:, None], self.n, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.n, input_shape[1]


def with_axes(inputs: ArrayLike, ndim: int | None, layer: str) -> Array:
    """The inputs, which must have `ndim` axes, or at least one for None."""
    x = as_array(inputs, "inputs")
    if x.ndim != ndim if ndim else not x.ndim:
        raise ValueError(
            f"inputs of layer {layer!r} must have {ndim or 'one or more'} axes, not shape {x.shape}"
        )
    return x


def _whole_numbers(value: object, name: str, least: int) -> list[int]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a tuple of integers, such as ({value!r},), not {value!r}")
    return [whole_number(n, f"each number in {name}", least) for n in value]


def _product(sizes: Shape) -> int | None:
    return None if None in sizes else math.prod(n for n in sizes if n is not None)
