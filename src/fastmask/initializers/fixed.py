"""Initializers that do not draw, and the base of all; see `initializers`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import real_number, shown
from .._typing import Array, ArrayLike, DTypeLike
from ..backends.dispatch import as_array


class Initializer:
    """Fills new weights: called with shape and dtype, it returns the values."""

    _options: tuple[str, ...] = ()

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        """The first values, of `shape` and `dtype`."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The config from which `get` makes the same initializer."""
        options = {option: getattr(self, option) for option in self._options}
        return {"class": type(self).__name__, **options}


class Zeros(Initializer):
    """Zeros."""

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        return np.zeros(shape, dtype)


class Ones(Initializer):
    """Ones."""

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        return np.ones(shape, dtype)


class Constant(Initializer):
    """`value` everywhere: a number, or an array that can be broadcast to the weight's shape."""

    _options = ("value",)

    def __init__(self, value: ArrayLike = 0.0) -> None:
        self.value: float | Array = _number_or_array(value)

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        try:
            return np.broadcast_to(np.asarray(self.value), shape).astype(dtype)
        except ValueError:
            raise ValueError(
                f"value of Constant has shape {np.shape(self.value)}, but the weight {shape}"
            ) from None


class Given(Constant):
    """An array that was given instead of an initializer: it has the weight's shape."""

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        if np.shape(self.value) != tuple(shape):
            raise ValueError(
                f"an array given as initializer must have the weight's shape {shape}, "
                f"not {np.shape(self.value)}"
            )
        return super().__call__(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"class": "Constant", "value": self.value}


class Identity(Initializer):
    """`gain` times the identity matrix, of two axes."""

    _options = ("gain",)

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = real_number(gain, "gain")

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        if len(shape) != 2:
            raise ValueError(f"an identity matrix must have two axes, not shape {shape}")
        return (self.gain * np.eye(*shape)).astype(dtype)


def _number_or_array(value: ArrayLike) -> float | Array:
    if isinstance(value, (int, float)):
        return real_number(value, "value")
    array = as_array(value, "value")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"value must be a number or an array of numbers, not {shown(value)}")
    if not array.ndim:
        return real_number(array[()], "value")
    kept = array.copy()
    kept.flags.writeable = False
    return kept
