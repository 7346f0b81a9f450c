"""An activation as a layer."""

from __future__ import annotations

from typing import Any

from .. import activations
from .._dispatch import real_array
from .._typing import Array, DTypeLike, Shape, Unpack
from ._layer import Layer
from ._of_training import OfTraining


class Activation(Layer):
    """Applies an activation to every element; passes masks on.

    Args:
        activation: name or function of an array.
        name: see `Layer`.
        dtype: see `Layer`.
        **of_training: see `Layer`.

    Called with
        inputs: array of any shape.

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

    _takes_lists = False
    supports_masking = True
    _options = ("activation",)

    def __init__(
        self,
        activation: str | activations.Activation | None,
        *,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        **of_training: Unpack[OfTraining],
    ) -> None:
        super().__init__(name=name, dtype=dtype, **of_training)
        self.activation = activations.name_of(activation, "activation")

    def call(self, inputs: Any) -> Array:
        """See the class."""
        return activations.get(self.activation)(real_array(inputs, "inputs", self._dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer`."""
        return tuple(input_shape)
