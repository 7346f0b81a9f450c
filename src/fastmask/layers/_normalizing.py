"""What the normalizations share: gamma and beta, and unit length."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import initializers
from .._checks import flag, real_number
from .._typing import Array, ArrayLike, Bools, Shape
from ..backends.dispatch import real_array
from ._elementwise import SameShape, along, axes_of, known_size, positive, way_by_axes

KERAS_EPSILON = 1e-7  # keras.config.epsilon()


class Scaled(SameShape):
    """Base of the normalizations with the weights gamma and beta, both of them optional."""

    _options: ClassVar[tuple[str, ...]] = (
        *("axis", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer"),
    )

    rms_scaling = False

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
        if self.scale or self.rms_scaling:
            self.gamma = self.add_weight(self._sizes, self.gamma_initializer, name="gamma")
        if self.center and not self.rms_scaling:
            self.beta = self.add_weight(self._sizes, self.beta_initializer, name="beta")

    def _ragged_way(self, ndim: int) -> str:
        return way_by_axes(self.axis, ndim, self.name, "rows")

    def _fitting(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        self._check_input_shape(x.shape)
        return x

    def _check_input_shape(self, shape: Shape) -> None:
        fits = len(shape) == self._ndim
        if fits:
            found = tuple([shape[axis] for axis in self._axes])
            fits = found == self._sizes or all(
                n in (size, None) for n, size in zip(found, self._sizes, strict=True)
            )
        if not fits:
            raise ValueError(
                f"inputs of layer {self.name!r} must have {self._ndim} axes, and on axis "
                f"{', '.join(map(str, self._axes))} the size "
                f"{', '.join(map(str, self._sizes))}, not shape {tuple(shape)}"
            )

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


def counting(mask: Bools | None, x: Array, axes: tuple[int, ...]) -> Array | None:
    """Which numbers of x count in sums over `axes`, as an array shaped like x; None if all do.

    A mask of steps does not matter to sums within one step.
    """
    if mask is None or not mixes_steps(axes, mask.ndim):
        return None
    valid: Array = np.broadcast_to(along(mask, x.ndim), x.shape)
    return valid


def mixes_steps(axes: tuple[int, ...], ndim: int) -> bool:
    """Whether sums over these axes combine several steps of a mask with `ndim` axes."""
    return bool(axes) and axes[0] < ndim  # axes are in ascending order


def moments(x: Array, axes: tuple[int, ...], valid: Array | None) -> tuple[Array, Array]:
    """Mean and variance of the valid numbers over `axes`, which are kept with size 1.

    Without any valid number they are 0 and 1.
    """
    if valid is None:
        return x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    zero = x.dtype.type(0)
    count = valid.sum(axis=axes, keepdims=True, dtype=x.dtype)
    divisor = np.maximum(count, 1)
    mean = np.where(valid, x, zero).sum(axis=axes, keepdims=True) / divisor
    off = np.where(valid, x - mean, zero)
    variance = (off * off).sum(axis=axes, keepdims=True) / divisor
    return mean, np.where(count > 0, variance, x.dtype.type(1))


def to_length_one(
    x: Array, axis: tuple[int, ...], epsilon: float, valid: Array | None = None
) -> Array:
    """x over its Euclidean length along `axis`, or over `epsilon` where that is larger.

    Only valid numbers count in the length.
    """
    counted = x if valid is None else np.where(valid, x, x.dtype.type(0))
    squares = np.square(counted).sum(axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):
        factor = np.minimum(1 / np.sqrt(squares), x.dtype.type(1 / epsilon))
    y: Array = x * factor
    return y
