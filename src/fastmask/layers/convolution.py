"""Convolution over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import activations, initializers
from .._checks import flag, whole_number
from .._typing import Array, ArrayLike, Shape, Unpack
from ..backends.dispatch import real_array
from ._elementwise import known_size
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._row_parts import row_parts, together
from ._windows import Windows, as_padding, one_number
from .pooling import as_data_format


class Conv1D(Layer):
    """Convolution over time; ignores masks, and drops them.

    Masked steps count with the values that they have: zeros if a `Masking` layer made the mask.

    Args:
        filters: size C of the output's last axis.
        kernel_size: number K of steps in a window.
        strides: number of steps from one window to the next.
        padding: "valid" for windows within the inputs; "same" for zeros on both sides, so that
            there is a window for each step; "causal" for zeros before the inputs, so that a
            window ends at its own step.
        data_format: "channels_last" for inputs (B, T, F), which None means too, or
            "channels_first" for (B, F, T).
        dilation_rate: distance between the steps in a window; 1 if strides are not.
        groups: number of parts of the features, each with `filters / groups` filters of its own.
        activation: name or function; None for none.
        use_bias: whether there is a bias.
        kernel_initializer: initial values of the kernel, (K, F / groups, C).
        bias_initializer: initial values of the bias, (C,).
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F).

    Returns:
        (B, windows, C).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit.

    Source:
        Keras: `keras.layers.Conv1D`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Conv1D(8, 3)(np.ones((2, 10, 4))).shape
        (2, 8, 8)
        >>> fm.layers.Conv1D(8, 3, padding="causal", dilation_rate=2)(np.ones((2, 10, 4))).shape
        (2, 10, 8)
    """

    _way = "rows"
    _takes_lists = False
    _input_axes = 3
    _options = (
        *("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate"),
        *("groups", "activation", "use_bias", "kernel_initializer", "bias_initializer"),
    )

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: str | activations.Activation | None = None,
        use_bias: bool = True,
        kernel_initializer: initializers.AnyInitializer = "glorot_uniform",
        bias_initializer: initializers.AnyInitializer = "zeros",
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.filters = whole_number(filters, "filters", 1)
        self.kernel_size = one_number(kernel_size, "kernel_size")
        self.strides = one_number(strides, "strides")
        self.padding = as_padding(padding, ("valid", "same", "causal"))
        self.data_format = as_data_format(data_format)
        self.dilation_rate = one_number(dilation_rate, "dilation_rate")
        self.groups = whole_number(groups, "groups", 1)
        self.activation = activations.name_of(activation, "activation")
        self.use_bias = flag(use_bias, "use_bias")
        self.kernel_initializer = initializers.get(kernel_initializer, "kernel_initializer")
        self.bias_initializer = initializers.get(bias_initializer, "bias_initializer")
        if self.filters % self.groups:
            raise ValueError(
                f"groups must divide filters, {self.filters}, but {self.groups} does not"
            )
        if self.strides[0] > 1 and self.dilation_rate[0] > 1:
            raise ValueError(
                f"dilation_rate must be 1 where strides are {self.strides[0]}, "
                f"not {self.dilation_rate[0]}"
            )
        self._windows = Windows(
            self.kernel_size[0], self.strides[0], self.dilation_rate[0], self.padding
        )
        first = self.data_format == "channels_first"
        self._time, self._features = (2, 1) if first else (1, 2)

    def build(self, input_shape: Shape) -> None:
        super()._check_input_shape(input_shape)
        features = known_size(input_shape, self._features, self.name)
        if features % self.groups:
            raise ValueError(
                f"groups of layer {self.name!r} must divide the features of its inputs, "
                f"but {self.groups} does not divide {features}"
            )
        shape = (*self.kernel_size, features // self.groups, self.filters)
        self.kernel = self.add_weight(shape, self.kernel_initializer, name="kernel")
        self.bias: Array | None = None
        if self.use_bias:
            self.bias = self.add_weight((self.filters,), self.bias_initializer, name="bias")

    def call(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        self._check_input_shape(x.shape)
        if self._time == 2:
            x = np.moveaxis(x, 2, 1)
        steps = self._windows.steps(x, self.name)
        numbers = steps[0].shape[1] * self.kernel.shape[0] * x.shape[2]
        y = together(
            [self._product([step[part] for step in steps]) for part in row_parts(x, numbers)]
        )
        if self.bias is not None:
            y += self.bias
        if self._time == 2:
            y = np.moveaxis(y, 2, 1)
        return activations.get(self.activation)(y)

    def _product(self, steps: list[Array]) -> Array:
        """The products of windows; `steps` are the steps in them, (B, windows, F) each."""
        size, features, filters = *self.kernel.shape[:2], self.filters // self.groups
        rows = steps[0].shape[0] * steps[0].shape[1]
        parts = []
        for group in range(self.groups):
            ours = slice(group * features, (group + 1) * features)
            unfolded = np.concatenate([step[:, :, ours] for step in steps], axis=2)
            kernel = self.kernel[:, :, group * filters : (group + 1) * filters]
            # One matrix product; for three axes np.matmul would make one for each row.
            flat = unfolded.reshape(rows, size * features)
            parts.append(flat @ kernel.reshape(size * features, filters))
        y = parts[0] if self.groups == 1 else np.concatenate(parts, axis=1)
        return y.reshape(*steps[0].shape[:2], self.filters)

    def _check_input_shape(self, shape: Shape) -> None:
        super()._check_input_shape(shape)
        features = self.kernel.shape[1] * self.groups
        if shape[self._features] not in (features, None):
            raise ValueError(
                f"inputs of layer {self.name!r} must have {features} features on axis "
                f"{self._features}, not shape {tuple(shape)}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(self._windows.over(input_shape, self._time, self.name))
        shape[self._features] = self.filters
        return tuple(shape)
