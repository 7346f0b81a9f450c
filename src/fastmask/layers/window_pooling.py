"""Pooling over windows of steps. The layers drop the mask, and warn."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from .._typing import Array, ArrayLike, Shape, Unpack
from ..backends.dispatch import real_array
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._windows import Windows, as_padding, one_number
from .pooling import as_data_format


class WindowPooling(Layer):
    """Base of the layers that reduce each window of steps to one step."""

    _way = "rows"
    _takes_lists = False
    _input_axes = 3
    _options = ("pool_size", "strides", "padding", "data_format")

    def __init__(
        self,
        pool_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.pool_size = one_number(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else one_number(strides, "strides")
        self.padding = as_padding(padding, ("valid", "same"))
        self.data_format = as_data_format(data_format)
        self._windows = Windows(self.pool_size[0], self.strides[0], 1, self.padding)
        self._time = 1 if self.data_format == "channels_last" else 2

    def call(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        self._check_input_shape(x.shape)
        if self._time == 1:
            return self._pool(x)
        return np.moveaxis(self._pool(np.moveaxis(x, 2, 1)), 2, 1)

    def _pool(self, x: Array) -> Array:
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._windows.over(input_shape, self._time, self.name)


class MaxPooling1D(WindowPooling):
    """The largest value of each feature in each window of steps; ignores masks, and drops them.

    Args:
        pool_size: number of steps in a window.
        strides: number of steps from one window to the next; `pool_size` by default.
        padding: "valid" for windows within the inputs, or "same" for one in every `strides`
            steps, of which those at the ends have fewer steps.
        data_format: "channels_last" for inputs (B, T, F), which None means too, or
            "channels_first" for (B, F, T).
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F).

    Returns:
        (B, windows, F).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, the inputs have another number of axes, or too
            few steps.

    Source:
        Keras: `keras.layers.MaxPooling1D`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.MaxPooling1D()([[[1.0], [4.0], [3.0], [2.0]]]).tolist()
        [[[4.0], [3.0]]]
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, **layer_args)

    def _pool(self, x: Array) -> Array:
        steps = self._windows.steps(x, self.name, fill=-np.inf)
        return functools.reduce(np.maximum, steps)


class AveragePooling1D(WindowPooling):
    """The mean of each window of steps; ignores masks, and drops them.

    Args:
        pool_size: number of steps in a window.
        strides: number of steps from one window to the next; `pool_size` by default.
        padding: "valid" for windows within the inputs, or "same" for one in every `strides`
            steps, of which those at the ends have fewer steps.
        data_format: "channels_last" for inputs (B, T, F), which None means too, or
            "channels_first" for (B, F, T).
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F).

    Returns:
        (B, windows, F).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, the inputs have another number of axes, or too
            few steps.

    Source:
        Keras: `keras.layers.AveragePooling1D`.

    Examples:
        >>> import fastmask as fm
        >>> layer = fm.layers.AveragePooling1D(2, padding="same")
        >>> layer([[[1.0], [4.0], [3.0]]]).tolist()
        [[[2.5], [3.0]]]
    """

    def _pool(self, x: Array) -> Array:
        total: Array = functools.reduce(np.add, self._windows.steps(x, self.name))
        if self.padding == "valid":
            return total / self.pool_size[0]
        ones = np.ones_like(x, shape=(1, x.shape[1], 1))
        return total / functools.reduce(np.add, self._windows.steps(ones, self.name))
