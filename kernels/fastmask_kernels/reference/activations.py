"""Activations by name, as in Keras."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def activate(name: str, x: Array) -> Array:
    """Activation `name` of every element of x."""
    values: Array
    if name == "tanh":
        values = np.tanh(x)
    elif name == "sigmoid":
        values = 0.5 * np.tanh(0.5 * x) + 0.5  # exp(-x) would overflow for large -x
    elif name == "relu":
        values = np.maximum(x, 0)
    elif name == "hard_sigmoid":
        values = np.clip(x + 3, 0, 6) / 6
    elif name == "hard_sigmoid_keras2":
        values = np.clip(0.2 * x + 0.5, 0, 1)
    elif name == "linear":
        values = x
    else:
        raise ValueError(f"unknown activation {name!r}")
    return values


def slope(name: str, y: Array) -> Array:
    """Derivative of activation `name` where its value is y."""
    values: Array
    if name == "tanh":
        values = 1 - y * y
    elif name == "sigmoid":
        values = y * (1 - y)
    elif name == "relu":
        values = (y > 0).astype(y.dtype)
    elif name == "hard_sigmoid":
        values = ((y > 0) & (y < 1)).astype(y.dtype) / 6
    elif name == "hard_sigmoid_keras2":
        values = ((y > 0) & (y < 1)).astype(y.dtype) / 5
    elif name == "linear":
        values = np.ones_like(y)
    else:
        raise ValueError(f"unknown activation {name!r}")
    return values
