"""Fully connected layer."""

from __future__ import annotations

import numpy as np

from .. import activations, initializers
from .._checks import flag, whole_number
from .._typing import Array, ArrayLike, Shape, Unpack
from ..backends.dispatch import backend_of, real_array
from ._keras_arguments import LayerArguments
from ._layer import Layer


class Dense(Layer):
    """activation(inputs @ kernel + bias) along the last axis; passes masks on.

    Args:
        units: size U of the output's last axis.
        activation: name or function; None for none.
        use_bias: whether there is a bias.
        kernel_initializer: initial values of the kernel, (F, U).
        bias_initializer: initial values of the bias, (U,).
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ..., F).

    Returns:
        (B, ..., U).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit.

    Source:
        Keras: `keras.layers.Dense`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Dense(3, activation="softmax")(np.ones((2, 5, 4))).shape
        (2, 5, 3)
    """

    _takes_lists = False
    _quantizable = supports_masking = True
    _options = ("units", "activation", "use_bias", "kernel_initializer", "bias_initializer")

    def __init__(
        self,
        units: int,
        activation: str | activations.Activation | None = None,
        use_bias: bool = True,
        kernel_initializer: initializers.AnyInitializer = "glorot_uniform",
        bias_initializer: initializers.AnyInitializer = "zeros",
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.units = whole_number(units, "units", 1)
        self.activation = activations.name_of(activation, "activation")
        self.use_bias = flag(use_bias, "use_bias")
        self.kernel_initializer = initializers.get(kernel_initializer, "kernel_initializer")
        self.bias_initializer = initializers.get(bias_initializer, "bias_initializer")

    def build(self, input_shape: Shape) -> None:
        shape = tuple(input_shape)
        if len(shape) < 2 or shape[-1] is None:
            raise ValueError(f"input_shape must be (batch, ..., features), not {shape}")
        self.kernel = self.add_weight(
            (shape[-1], self.units), self.kernel_initializer, name="kernel"
        )
        self.bias: Array | None = None
        if self.use_bias:
            self.bias = self.add_weight((self.units,), self.bias_initializer, name="bias")

    def call(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        self._check_input_shape(x.shape)
        # One matrix product; for three axes and more np.matmul would make one for each row.
        rows = x.reshape(-1, len(self.kernel)) if x.size else None
        if rows is not None and self._quantization is not None:
            weights = self._weights, self.kernel, self.bias
            y = backend_of(x).dense(*weights, self._quantization, rows)
        else:
            y = self._nothing(x) if rows is None else rows @ self.kernel
            if self.bias is not None:
                y += self.bias
        return activations.get(self.activation)(y.reshape(*x.shape[:-1], self.units))

    def _ragged_way(self, ndim: int) -> str:
        return "steps" if ndim > 2 else "none"  # the features would be the steps

    def _check_input_shape(self, shape: Shape) -> None:
        features = len(self.kernel)
        if len(shape) < 2 or shape[-1] not in (features, None):
            raise ValueError(
                f"inputs of layer {self.name!r} must have shape (batch, ..., {features}), "
                f"not {tuple(shape)}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def _nothing(self, x: Array) -> Array:
        return np.zeros_like(x, shape=(int(np.prod(x.shape[:-1])), self.units))
