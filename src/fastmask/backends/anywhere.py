"""A few operations on arrays of the host and of a GPU alike; NumPy's come first."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from .._typing import Array
from .cuda import arrays as _arrays


def cast(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array as `dtype`."""
    if type(array) is np.ndarray:
        return array.astype(dtype)
    return own(_arrays.real_array(array, "array", dtype))


def copied(array: Array) -> Array:
    """A copy."""
    if type(array) is np.ndarray:
        return array.copy()
    return own(_arrays.copied(_arrays.view_of(array, "array")))


def reversed_in_time(array: Array) -> Array:
    """(B, T, ...) turned round in time."""
    if type(array) is np.ndarray:
        return array[:, ::-1]
    return own(_arrays.backwards(_arrays.view_of(array, "array")))


def reversed_mask(mask: Any) -> Any:
    """A mask, or its bool array, turned round in time; of one on a GPU a `Mask` there."""
    if _arrays.on_gpu(getattr(mask, "valid", mask)):
        return import_module("fastmask.backends.cuda.masks").reversed_mask(mask)
    return np.asarray(mask)[:, ::-1]


def computed(layer: Any, function: Callable[..., Any], arrays: list[Array]) -> Any:
    """`function` of arrays, which is NumPy's code; a part of what `layer` computes."""
    if all(type(array) is np.ndarray for array in arrays):
        return function(*arrays)
    return on_device().computed(layer, function, arrays)


def on_device() -> Any:
    """What layers compute on a GPU."""
    return import_module("fastmask.backends.cuda.layers")


def own(array: Any) -> Array:
    """The array that a view is of; others are themselves."""
    is_view = type(array).__module__.startswith("fastmask_kernels")
    found: Array = array.owner if is_view else array
    return found
