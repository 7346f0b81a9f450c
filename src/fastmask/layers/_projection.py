"""The products of attention: to heads, and from heads."""

from __future__ import annotations

import math
from typing import Any

from .. import activations, initializers
from .._typing import Array, ArrayLike, Shape
from ..backends.dispatch import real_array
from ._layer import Layer


class Projection(Layer):
    """A product over the last axes of the inputs; `Dense` with several axes.

    Args:
        axes: how many last axes it sums over.
        sizes: sizes of the axes that replace them.
        use_bias: whether there is a bias of these sizes.
        kernel_initializer: initial values of the kernel, (summed axes, new axes).
        bias_initializer: initial values of the bias.
        activation: name of the activation.
        **layer_args: `name` and `dtype`.
    """

    _takes_lists = False

    def __init__(
        self,
        axes: int,
        sizes: tuple[int, ...],
        use_bias: bool,
        kernel_initializer: initializers.AnyInitializer,
        bias_initializer: initializers.AnyInitializer,
        activation: str = "linear",
        **layer_args: Any,
    ) -> None:
        super().__init__(**layer_args)
        self._axes, self._sizes, self._use_bias = axes, sizes, use_bias
        self._initializers = kernel_initializer, bias_initializer
        self._activation = activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        summed: Any = tuple(input_shape)[-self._axes :]
        self.kernel = self.add_weight((*summed, *self._sizes), self._initializers[0], name="kernel")
        self.bias: Array | None = None
        if self._use_bias:
            self.bias = self.add_weight(self._sizes, self._initializers[1], name="bias")

    def call(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        kept, summed = x.shape[: -self._axes], x.shape[-self._axes :]
        rows, terms, columns = math.prod(kept), math.prod(summed), math.prod(self._sizes)
        y = x.reshape(rows, terms) @ self.kernel.reshape(terms, columns)
        y = y.reshape(*kept, *self._sizes)
        if self.bias is not None:
            y += self.bias
        return self._activation(y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*tuple(input_shape)[: -self._axes], *self._sizes)
