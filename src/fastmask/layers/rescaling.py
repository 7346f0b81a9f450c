"""Rescaling, and the layer that does nothing."""

from __future__ import annotations

from typing import Any

from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ..backends.dispatch import as_array, real_array
from ._elementwise import SameShape
from ._keras_arguments import LayerArguments


class Rescaling(SameShape):
    """inputs * scale + offset; passes masks on.

    Args:
        scale: number, or array that is broadcast to the inputs.
        offset: likewise.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: array of any shape.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: the inputs, scale or offset do not hold real numbers.

    Source:
        Keras: `keras.layers.Rescaling`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.Rescaling(0.5, offset=[1, 0])([[4, 2]])
        array([[3., 1.]], dtype=float32)
    """

    _options = ("scale", "offset")

    def __init__(
        self,
        scale: ArrayLike,
        offset: ArrayLike = 0.0,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self._scale = real_array(scale, "scale", self._dtype)
        self._offset = real_array(offset, "offset", self._dtype)
        self.scale = as_array(scale, "scale").tolist()
        self.offset = as_array(offset, "offset").tolist()

    def _ragged_way(self, ndim: int) -> str:
        numbers = max(self._scale.ndim, self._offset.ndim)
        return "steps" if numbers < ndim - 1 else "rows" if numbers < ndim else "none"

    def call(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        y: Array = x * self._scale + self._offset
        return y


class Identity(SameShape):
    """Returns its inputs with their masks.

    Args:
        name: see `Layer`.
        dtype: see `Layer`.
        **layer_args: see `Layer`.

    Called with
        inputs: an array, or a list of arrays.

    Returns:
        The same.

    Source:
        Keras: `keras.layers.Identity`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.Identity()(fm.Masked([[1, 2]], [[1, 0]])).mask.valid
        array([[ True, False]])
    """

    _takes_lists = step_by_step = True

    def call(self, inputs: ArrayLike) -> Any:
        return inputs

    def compute_mask(self, inputs: ArrayLike, mask: Bools | None = None) -> Any:  # noqa: ARG002 - Keras's form
        """The masks as they are, each for its own input."""
        return mask

    def compute_output_shape(self, input_shape: Shape) -> Any:
        return input_shape
