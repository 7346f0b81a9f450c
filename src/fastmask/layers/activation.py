"""An activation as a layer."""

from __future__ import annotations

import numpy as np

from .. import activations
from .._typing import Array, ArrayLike, Bools, Unpack
from ..backends.dispatch import real_array
from ._elementwise import SameShape
from ._keras_arguments import LayerArguments

_OVER_LAST_AXIS = {"softmax": 0.0, "log_softmax": -np.inf}  # and what they give at a masked step


class Activation(SameShape):
    """Applies an activation to every element; passes masks on.

    A softmax over the steps of inputs (B, T) leaves masked ones out, and gives them 0.

    Args:
        activation: name or function of an array.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: array of any shape.
        mask: (B, T), instead of the one that the inputs carry.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: the activation is neither a name nor a function.
        ValueError: there is no activation of that name.

    Source:
        Keras: `keras.layers.Activation`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Activation("relu")(np.array([[-1.0, 2.0]]))
        array([[0., 2.]], dtype=float32)
    """

    _options = ("activation",)

    def __init__(
        self,
        activation: str | activations.Activation | None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.activation = activations.name_of(activation, "activation")

    def call(self, inputs: ArrayLike, mask: Bools | None = None) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        function = activations.get(self.activation)
        if mask is None or mask.ndim < x.ndim or self.activation not in _OVER_LAST_AXIS:
            return function(x)
        valid = np.where(mask, x, x.dtype.type(-np.inf))
        y = function(np.where(mask.any(axis=-1, keepdims=True), valid, x.dtype.type(0)))
        return np.where(mask, y, x.dtype.type(_OVER_LAST_AXIS[self.activation]))

    def _ragged_way(self, ndim: int) -> str:
        over_steps = ndim == 2 and self.activation in _OVER_LAST_AXIS
        return "rows" if over_steps else "steps"

    def _uses_mask(self, axes: int) -> bool:  # noqa: ARG002 - the signature of `Layer`
        return False  # except if the last axis is that of the steps
