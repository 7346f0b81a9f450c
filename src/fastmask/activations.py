"""Activations by name, as Keras 3 computes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmask_kernels.activations import ACTIVATIONS

from ._checks import closest, listed
from .backends.dispatch import backend_of

__all__ = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "get",
    "hard_sigmoid",
    "hard_sigmoid_keras2",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
    "tanh_shrink",
]

Array = NDArray[np.floating[Any]]
Activation = Callable[[Array], Array]


def linear(x: Array) -> Array:
    """x."""
    return x


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


def relu6(x: Array) -> Array:
    """x, not below 0 and not above 6."""
    return np.clip(x, 0, 6)


def leaky_relu(x: Array, negative_slope: float = 0.2) -> Array:
    """x, or negative_slope x below zero."""
    return np.where(x >= 0, x, negative_slope * x)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """x, or alpha (exp(x) - 1) below zero (Clevert et al., 2016)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


celu = elu  # with alpha = 1, the only one that a name can mean, they are the same


def selu(x: Array) -> Array:
    """Scaled elu (Klambauer et al., 2017)."""
    y: Array = 1.0507009873554805 * elu(x, 1.6732632423543772)
    return y


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    y: Array = 0.5 * np.tanh(0.5 * x) + 0.5  # exp(-x) would overflow for large -x
    return y


def hard_sigmoid(x: Array) -> Array:
    """relu6(x + 3) / 6."""
    return np.clip(x + 3, 0, 6) / 6


def hard_sigmoid_keras2(x: Array) -> Array:
    """0.2 x + 0.5, not below 0 and not above 1: the hard_sigmoid of Keras 2."""
    y: Array = np.clip(0.2 * x + 0.5, 0, 1)
    return y


def log_sigmoid(x: Array) -> Array:
    """log(sigmoid(x))."""
    return -softplus(-x)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return np.tanh(x)


def hard_tanh(x: Array) -> Array:
    """x, not below -1 and not above 1."""
    return np.clip(x, -1, 1)


def tanh_shrink(x: Array) -> Array:
    """x - tanh(x)."""
    return x - np.tanh(x)


def softplus(x: Array) -> Array:
    """log(exp(x) + 1)."""
    return np.logaddexp(x, x.dtype.type(0))


def softsign(x: Array) -> Array:
    """x / (|x| + 1)."""
    y: Array = x / (np.abs(x) + 1)
    return y


def silu(x: Array) -> Array:
    """x sigmoid(x) (Ramachandran et al., 2017)."""
    return x * sigmoid(x)


def hard_silu(x: Array) -> Array:
    """x hard_sigmoid(x) (Howard et al., 2019)."""
    return x * hard_sigmoid(x)


def gelu(x: Array) -> Array:
    """x P(X <= x) for a normal X (Hendrycks and Gimpel, 2016)."""
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def erf(x: Array) -> Array:
    """The error function."""
    own: Callable[[], Array] | None = getattr(x, "erf", None)  # of a `TorchArray`
    return backend_of(x).erf(x) if own is None else own()


def mish(x: Array) -> Array:
    """x tanh(softplus(x)) (Misra, 2019)."""
    return x * np.tanh(softplus(x))


def exponential(x: Array) -> Array:
    """exp(x)."""
    return np.exp(x)


def softmax(x: Array) -> Array:
    """exp(x) over its sum along the last axis."""
    if not x.size:
        return x
    with np.errstate(invalid="ignore"):  # infinite inputs give NaN, as they should
        powers = np.exp(x - x.max(axis=-1, keepdims=True))
    y: Array = powers / powers.sum(axis=-1, keepdims=True)
    return y


def log_softmax(x: Array) -> Array:
    """log(softmax(x)), computed without underflow."""
    if not x.size:
        return x
    shifted = x - x.max(axis=-1, keepdims=True)
    y: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return y


_BY_NAME: dict[str, Activation] = {
    function.__name__: function
    for function in (
        *(linear, relu, relu6, leaky_relu, elu, selu, sigmoid, log_sigmoid, softplus, softsign),
        *(hard_sigmoid, hard_sigmoid_keras2, tanh, hard_tanh, tanh_shrink, silu, hard_silu),
        *(gelu, mish, exponential, softmax, log_softmax),
    )
} | {"celu": celu, "swish": silu, "hard_swish": hard_silu}


def name_of(identifier: str | Activation | None, name: str) -> str | Activation:
    """The name of an activation, or the function itself if this module does not have it.

    Raises:
        ValueError: there is no activation of that name.
        TypeError: it is neither a name nor a function.
    """
    if identifier is None:
        return "linear"
    if isinstance(identifier, str):
        if identifier not in _BY_NAME:
            meant = closest(identifier, _BY_NAME)
            raise ValueError(f"{name} must be one of {listed(_BY_NAME)}, not {identifier!r}{meant}")
        return identifier
    if not callable(identifier):
        raise TypeError(
            f"{name} must be a name such as 'relu', a function of an array, or None, "
            f"not {identifier!r}{of_size(identifier, name)}"
        )
    for known, function in _BY_NAME.items():
        if function is identifier:
            return known
    return identifier


def is_name(value: str) -> bool:
    """Whether there is an activation of that name."""
    return value in _BY_NAME


def of_size(value: object, name: str) -> str:
    """A hint, for the end of a message, if a number was passed in place of an activation."""
    if name != "activation" or not isinstance(value, int):
        return ""
    return "; sizes of inputs are not given, a layer finds them when it is first called"


def get(identifier: str | Activation | None) -> Activation:
    """Find an activation by its name.

    Args:
        identifier: a name such as "relu", a function of an array, or None for "linear".

    Returns:
        A function of a float array that returns one of the same shape.

    Raises:
        ValueError: there is no activation of that name.
        TypeError: it is neither a name nor a function.

    Source:
        Keras: `keras.activations.get`.

    Examples:
        >>> import numpy as np
        >>> from fastmask import activations
        >>> activations.get("relu")(np.array([-1.0, 2.0]))
        array([0., 2.])
    """
    known = name_of(identifier, "activation")
    return _BY_NAME[known] if isinstance(known, str) else known


def kernel_activation(identifier: object, name: str) -> str:
    """The name of an activation that the kernels know; `name` is the argument's, for messages.

    Raises:
        ValueError: the kernels do not know it.
        TypeError: it is neither a name nor a function.
    """
    if type(identifier) is str and identifier in ACTIVATIONS:
        return identifier
    expected = f"{name} must be one of {listed(ACTIVATIONS)}"
    if not (isinstance(identifier, str) or callable(identifier) or identifier is None):
        raise TypeError(f"{expected}, not {identifier!r}{of_size(identifier, name)}")
    known = identifier if isinstance(identifier, str) else name_of(identifier, name)
    if isinstance(known, str) and known in ACTIVATIONS:
        return known
    own = getattr(identifier, "__name__", None)
    if own in ACTIVATIONS:
        hint = f": give its name, {own!r}"
    elif isinstance(known, str) and not is_name(known):
        hint = closest(known, ACTIVATIONS)
    else:
        hint = "; a cell of your own in fastmask.layers.RNN(cell) may use any function"
    raise ValueError(f"{expected}, not {identifier!r}{hint}")
