"""A function as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .._typing import ArrayLike, Bools, Shapes, Unpack
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._lost_mask import USES
from ._shapes import is_shape
from ._types import MaskLike


class Lambda(Layer):
    """Calls a function; drops masks unless `mask` says otherwise.

    It cannot be saved, because a model file holds no code: write a layer of your own for that,
    whose class goes into `load_model` as one of the `custom_objects`.

    Args:
        function: takes the inputs, and `mask=` and `training=` if it has arguments of these names.
        output_shape: shape of the outputs without the batch axis, or a function of the inputs'
            shape; if None, the function is called to find it.
        mask: the mask of the outputs, (B, T), or a function of inputs and mask that returns it.
        arguments: further arguments of the function, by name.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: an array, or a list of arrays.

    Returns:
        What the function returns.

    Raises:
        TypeError: `function` is not callable.

    Source:
        Keras: `keras.layers.Lambda`.

    Examples:
        >>> import fastmask as fm
        >>> layer = fm.layers.Lambda(lambda x: 2 * x, mask=lambda inputs, mask: mask)
        >>> y = layer(fm.Masked([[1.0, 2.0]], [[1, 0]]))
        >>> y.data, y.mask.valid
        (array([[2., 4.]], dtype=float32), array([[ True, False]]))
    """

    _options = ("function", "output_shape", "mask", "arguments")
    _mask_is_chosen = True

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Callable[..., Any] | MaskLike | None = None,
        arguments: dict[str, Any] | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        if not callable(function):
            raise TypeError(f"function must be a function, not {function!r}")
        self.function = function
        self.output_shape = output_shape
        self.mask = mask
        self.arguments = dict(arguments or {})
        self.supports_masking = mask is not None
        self._takes = _names_of(function) & {"mask", "training"}

    def call(self, inputs: ArrayLike, mask: Bools | None = None, training: bool = False) -> Any:
        known = {"mask": mask, "training": training}
        return self.function(
            inputs, **self.arguments, **{name: known[name] for name in sorted(self._takes)}
        )

    def compute_mask(self, inputs: ArrayLike, mask: Bools | None = None) -> Any:
        """The mask given by the argument `mask`, else None: a mask of the inputs is then lost."""
        if callable(self.mask):
            return self.mask(inputs, mask)
        if self.mask is None and mask is not None:
            self._warn_of_loss(None)
        return self.mask

    def _uses_mask(self, axes: int) -> bool:  # noqa: ARG002 - the signature of `Layer`
        return "mask" in self._takes

    def _how_lost(self) -> str:
        if not self._uses_mask(2):
            return super()._how_lost()
        return (
            f"{USES} Pass mask= to Lambda: the mask of the outputs, or a function of inputs and "
            "mask that returns it; one that returns None ends the mask without this warning."
        )

    def compute_output_shape(self, input_shape: Shapes) -> Any:
        if self.output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self.output_shape):
            return self.output_shape(input_shape)
        batch = (input_shape if is_shape(input_shape) else input_shape[0])[0]
        return (batch, *np.atleast_1d(self.output_shape).tolist())


def _names_of(function: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some functions in C have no signature
        return set()
