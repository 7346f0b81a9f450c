"""What the normalisations share: gamma and beta, and unit length."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import initializers
from .._checks import flag, real_number
from .._dispatch import real_array
from .._typing import Array, Shape
from ._elementwise import SameShape, axes_of, known_size, positive

KERAS_EPSILON = 1e-7  # keras.config.epsilon()


class Scaled(SameShape):
    """Base of the normalisations with the weights gamma and beta, either of which may lack."""

    _options: ClassVar[tuple[str, ...]] = (
        *("axis", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer"),
    )

    def __init__(
        self,
        axis: int | list[int],
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: initializers.AnyInitializer,
        gamma_initializer: initializers.AnyInitializer,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.axis = axes_of(axis, "axis")
        self.epsilon = real_number(epsilon, "epsilon")
        self.center = flag(center, "center")
        self.scale = flag(scale, "scale")
        self.beta_initializer = initializers.get(beta_initializer, "beta_initializer")
        self.gamma_initializer = initializers.get(gamma_initializer, "gamma_initializer")

    def build(self, input_shape: Shape) -> None:
        """Make gamma and beta; see `Layer`."""
        self._axes = positive(self.axis, len(input_shape), self.name)
        self._sizes = tuple(known_size(input_shape, axis, self.name) for axis in self._axes)
        self._ndim = len(input_shape)
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(self._sizes, self.gamma_initializer, name="gamma")
        if self.center:
            self.beta = self.add_weight(self._sizes, self.beta_initializer, name="beta")

    def _fitting(self, inputs: Any) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        if x.ndim != self._ndim or tuple(x.shape[axis] for axis in self._axes) != self._sizes:
            raise ValueError(
                f"inputs of layer {self.name!r} must have {self._ndim} axes, and on axis "
                f"{', '.join(map(str, self._axes))} the size "
                f"{', '.join(map(str, self._sizes))}, not shape {x.shape}"
            )
        return x

    def _broadcast(self, weight: Array, x: Array) -> Array:
        shape = [size if axis in self._axes else 1 for axis, size in enumerate(x.shape)]
        return weight.reshape(shape)

    def _scaled(self, x: Array, mean: Array, variance: Array) -> Array:
        """(x - mean) / sqrt(variance + epsilon) * gamma + beta."""
        factor = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
        y = x - mean
        y *= factor if self.gamma is None else factor * self._broadcast(self.gamma, x)
        if self.beta is not None:
            y += self._broadcast(self.beta, x)
        return y


def to_length_one(x: Array, axis: tuple[int, ...], epsilon: float) -> Array:
    """x over its Euclidean length along `axis`, or over `epsilon` where that is larger."""
    squares = np.square(x).sum(axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):
        factor = np.minimum(1 / np.sqrt(squares), x.dtype.type(1 / epsilon))
    y: Array = x * factor
    return y
