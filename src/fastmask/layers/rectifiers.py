"""Rectifiers: activations with parameters or weights of their own."""

from __future__ import annotations

import numpy as np

from .. import activations, initializers
from .._checks import real_number
from .._typing import Array, ArrayLike, Shape, Unpack
from ..backends.dispatch import real_array
from ._elementwise import SameShape, axes_of, known_size
from ._keras_arguments import LayerArguments
from ._shapes import broadcasts


class ReLU(SameShape):
    """max(x, 0), or a variant of it; passes masks on.

    Args:
        max_value: the largest output; None for no limit.
        negative_slope: slope below the threshold.
        threshold: inputs up to it are damped.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: array of any shape.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is negative.

    Source:
        Keras: `keras.layers.ReLU`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.ReLU(max_value=1.0)([[-2.0, 0.5, 3.0]])
        array([[0. , 0.5, 1. ]], dtype=float32)
    """

    step_by_step = True
    _options = ("max_value", "negative_slope", "threshold")

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.max_value = None if max_value is None else _not_negative(max_value, "max_value")
        self.negative_slope = _not_negative(negative_slope, "negative_slope")
        self.threshold = _not_negative(threshold, "threshold")

    def call(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        y = np.where(x <= self.threshold, 0, x) if self.threshold else np.maximum(x, 0)
        if self.max_value is not None:
            y = np.minimum(y, self.max_value)
        if self.negative_slope:
            y = y - self.negative_slope * np.maximum(self.threshold - x, 0)
        return y.astype(self._dtype, copy=False)


class LeakyReLU(SameShape):
    """x, or `negative_slope` x below zero; passes masks on.

    Args:
        negative_slope: the slope.
        alpha: the slope, under its older name.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: array of any shape.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: the slope is not a number.
        ValueError: the slope is negative.

    Source:
        Keras: `keras.layers.LeakyReLU`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.LeakyReLU(0.5)([[-2.0, 3.0]])
        array([[-1.,  3.]], dtype=float32)
    """

    step_by_step = True
    _options = ("negative_slope",)

    def __init__(
        self,
        negative_slope: float = 0.3,
        *,
        alpha: float | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        slope = negative_slope if alpha is None else alpha
        self.negative_slope = _not_negative(slope, "negative_slope")

    def call(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        return activations.leaky_relu(x, self.negative_slope)


class ELU(SameShape):
    """x, or `alpha` (exp(x) - 1) below zero; passes masks on.

    Args:
        alpha: what the output goes to for small x, negated.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: array of any shape.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: `alpha` is not a number.

    Source:
        Keras: `keras.layers.ELU`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.ELU(2.0)([[-100.0, 3.0]])
        array([[-2.,  3.]], dtype=float32)
    """

    step_by_step = True
    _options = ("alpha",)

    def __init__(
        self,
        alpha: float = 1.0,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.alpha = real_number(alpha, "alpha")

    def call(self, inputs: ArrayLike) -> Array:
        return activations.elu(real_array(inputs, "inputs", self._dtype), self.alpha)


class PReLU(SameShape):
    """x, or alpha x below zero, where alpha is a weight; passes masks on.

    Args:
        alpha_initializer: first values of alpha, which has the shape of one input.
        shared_axes: axes along which alpha is the same; [1] for sequences of any length.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ...).

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an axis is not an integer.
        ValueError: the inputs have no such axis, or one that is not shared has an unknown size.

    Source:
        Keras: `keras.layers.PReLU`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.PReLU("ones", shared_axes=[1])([[[-2.0], [3.0]]])
        array([[[-2.],
                [ 3.]]], dtype=float32)
    """

    _options = ("alpha_initializer", "shared_axes")

    def __init__(
        self,
        alpha_initializer: initializers.AnyInitializer = "zeros",
        *,
        shared_axes: int | list[int] | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.alpha_initializer = initializers.get(alpha_initializer, "alpha_initializer")
        axes = [] if shared_axes is None else axes_of(shared_axes, "shared_axes")
        self.shared_axes = axes if isinstance(axes, list) else [axes]
        self._way = "steps" if 1 in self.shared_axes else "none"

    def build(self, input_shape: Shape) -> None:
        """Make alpha; see `Layer`."""
        axes = range(1, len(input_shape))
        if any(axis not in axes for axis in self.shared_axes):
            raise ValueError(
                f"shared_axes of layer {self.name!r} must be among {list(axes)}, "
                f"not {self.shared_axes}"
            )
        shape = tuple(
            1 if axis in self.shared_axes else known_size(input_shape, axis, self.name)
            for axis in axes
        )
        self.alpha = self.add_weight(shape, self.alpha_initializer, name="alpha")

    def call(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        self._check_input_shape(x.shape)
        y: Array = np.maximum(x, 0) - self.alpha * np.maximum(-x, 0)
        return y

    def _check_input_shape(self, shape: Shape) -> None:
        fits = broadcasts(self.alpha.shape, tuple(shape[1:]))
        if len(shape) != self.alpha.ndim + 1 or not fits:
            raise ValueError(
                f"inputs of layer {self.name!r} must fit its weight of shape (batch, "
                f"*{self.alpha.shape}), not have shape {tuple(shape)}"
            )


def _not_negative(value: float, name: str) -> float:
    number = real_number(value, name)
    if not number >= 0.0:
        raise ValueError(f"{name} must not be negative, not {value!r}")
    return number
