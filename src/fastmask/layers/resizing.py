"""Layers that add or remove steps; they drop the mask, and warn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._checks import whole_number
from .._typing import Array, ArrayLike, Shape, Unpack
from ._keras_arguments import LayerArguments
from ._layer import Layer
from .pooling import as_data_format
from .reshaping import with_axes


class ZeroPadding1D(Layer):
    """Adds steps of zeros; drops masks.

    Args:
        padding: number of steps before and after, or both in a pair.
        data_format: "channels_last" for inputs (B, T, F), which None means too, or
            "channels_first" for (B, F, T).
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F).

    Returns:
        (B, T + padding, F).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is negative, or the inputs have another number of axes.

    Source:
        Keras: `keras.layers.ZeroPadding1D`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.ZeroPadding1D((1, 2))(np.ones((5, 3, 4))).shape
        (5, 6, 4)
    """

    _way = "rows"
    _takes_lists = False
    _input_axes = 3
    _options = ("padding", "data_format")

    def __init__(
        self,
        padding: int | Sequence[int] = 1,
        data_format: str | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.padding = _pair(padding, "padding")
        self.data_format = as_data_format(data_format)

    def call(self, inputs: ArrayLike) -> Array:
        x = with_axes(inputs, 3, self.name)
        shape, inner = list(x.shape), [slice(None)] * 3
        shape[self._time] += sum(self.padding)
        inner[self._time] = slice(self.padding[0], shape[self._time] - self.padding[1])
        padded = np.zeros_like(x, shape=shape)  # np.pad takes 18 us longer
        padded[tuple(inner)] = x
        return padded

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return _longer(input_shape, self._time, sum(self.padding))

    @property
    def _time(self) -> int:
        return 1 if self.data_format == "channels_last" else 2


class Cropping1D(Layer):
    """Removes steps at both ends; drops masks.

    Args:
        cropping: number of steps at either end, or both in a pair.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F).

    Returns:
        (B, T - cropping, F).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is negative, or the inputs are too short.

    Source:
        Keras: `keras.layers.Cropping1D`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Cropping1D((1, 0))(np.ones((5, 3, 4))).shape
        (5, 2, 4)
    """

    _way = "rows"
    _takes_lists = False
    _input_axes = 3
    _options = ("cropping",)

    def __init__(
        self,
        cropping: int | Sequence[int] = (1, 1),
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.cropping = _pair(cropping, "cropping")

    def call(self, inputs: ArrayLike) -> Array:
        x = with_axes(inputs, 3, self.name)
        self._check(x.shape[1])
        first, last = self.cropping
        return x[:, first : x.shape[1] - last]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if input_shape[1] is not None:
            self._check(input_shape[1])
        return _longer(input_shape, 1, -sum(self.cropping))

    def _check(self, time: int) -> None:
        if sum(self.cropping) >= time:
            raise ValueError(
                f"inputs of layer {self.name!r} must have more than {sum(self.cropping)} steps, "
                f"which it crops, not {time}"
            )


class UpSampling1D(Layer):
    """Repeats every step several times; drops masks.

    Args:
        size: number of repeats.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F).

    Returns:
        (B, T * size, F).

    Raises:
        TypeError: `size` is not an integer.
        ValueError: `size` is less than 1, or the inputs have another number of axes.

    Source:
        Keras: `keras.layers.UpSampling1D`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.UpSampling1D()([[[1.0], [2.0]]]).tolist()
        [[[1.0], [1.0], [2.0], [2.0]]]
    """

    _way = "rows"
    _takes_lists = False
    _input_axes = 3
    _options = ("size",)

    def __init__(
        self,
        size: int = 2,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.size = whole_number(size, "size", 1)

    def call(self, inputs: ArrayLike) -> Array:
        return np.repeat(with_axes(inputs, 3, self.name), self.size, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, time, features = input_shape
        return batch, None if time is None else time * self.size, features


def _pair(value: object, name: str) -> list[int]:
    pair = list(value) if isinstance(value, (list, tuple)) else [value, value]
    if len(pair) != 2:
        raise ValueError(f"{name} must be a number or a pair of numbers, not {value!r}")
    return [whole_number(n, name, 0) for n in pair]


def _longer(shape: Shape, axis: int, by: int) -> Shape:
    return tuple(n + by if a == axis and n is not None else n for a, n in enumerate(shape))
