"""Operations on arrays that models from other libraries have between their layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import activations
from .._checks import shown
from .._typing import Array

# Operations on masks: drop it, take that of another input, reverse it, keep it for reversed steps.
WITHOUT_MASK, WITH_MASK_OF = "without_mask", "with_mask_of"
REVERSED_MASK, REVERSED_STEPS = "reversed_mask", "reversed_steps"
OF_MASKS = {WITHOUT_MASK, WITH_MASK_OF, REVERSED_MASK, REVERSED_STEPS}
_MOST_REPEATS = 4096
_MOST_CLASSES = 2**16
_KINDS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


def _of_numpy(names: str) -> dict[str, Callable[..., Any]]:
    return {name: getattr(np, name) for name in names.split()}


def _cast(x: Array, dtype: str) -> Array:
    name = "float32" if dtype == "bfloat16" else dtype
    if name not in _KINDS:
        raise ValueError(f"dtype must be one of {', '.join(_KINDS)}, not {shown(dtype)}")
    return x.astype(name)


def _repeat(x: Array, repeats: int, axis: int | None = None) -> Array:
    if type(repeats) is not int or not 0 <= repeats <= _MOST_REPEATS:
        raise ValueError(f"repeats must be at most {_MOST_REPEATS}, not {shown(repeats)}")
    return np.repeat(x, repeats, axis)


def _check_growth(factor: int) -> None:
    if factor > _MOST_REPEATS:
        raise ValueError(f"makes an array {factor} times as large; at most {_MOST_REPEATS}")


def _tile(x: Array, repeats: Any) -> Array:
    _check_growth(math.prod(repeats) if isinstance(repeats, list) else repeats)
    return np.tile(x, repeats)


def _pad(x: Array, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Array:
    added = np.broadcast_to(pad_width, (x.ndim, 2)).sum(1).tolist()
    sizes = [n + more for n, more in zip(x.shape, added, strict=True)]
    _check_growth(math.prod(sizes) // max(x.size, 1))
    options = {} if constant_values is None else {"constant_values": constant_values}
    return np.pad(x, pad_width, mode, **options)  # type: ignore[call-overload,no-any-return]


def _one_hot(
    x: Array, num_classes: int, axis: int = -1, dtype: str | None = None, sparse: bool = False
) -> Array:
    if sparse or type(num_classes) is not int or not 0 < num_classes <= _MOST_CLASSES:
        raise ValueError(f"num_classes must be 1 to {_MOST_CLASSES} of a dense array")
    found = _cast(x[..., None] == np.arange(num_classes), dtype or "float32")
    return np.moveaxis(found, -1, axis)


def _gelu(x: Array, approximate: bool = False) -> Array:
    if not approximate:
        return activations.gelu(x)
    return x * (0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _last(function: Callable[[Array], Array]) -> Callable[..., Array]:
    """Let a function over the last axis take any axis."""
    return lambda x, axis=-1: np.moveaxis(function(np.moveaxis(x, axis, -1)), -1, axis)


def _unstack(x: Array, num: int | None = None, axis: int = 0) -> list[Array]:  # noqa: ARG001
    return list(np.moveaxis(x, axis, 0))


def _norm(x: Array, ord: int | None = None, axis: Any = None, keepdims: bool = False) -> Any:
    return np.linalg.norm(x, ord, tuple(axis) if isinstance(axis, list) else axis, keepdims)


def _normalize(x: Array, axis: int = -1, order: int = 2, epsilon: float | None = None) -> Array:
    least = 1e-7 if epsilon is None else epsilon
    size: Array = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.maximum(size, least)


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
        return function(x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)

    return reduce


def _identity(x: Array, *_: object, **__: object) -> Array:
    return x


def _like(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda x, dtype=None: function(x, "float32" if dtype == "bfloat16" else dtype)


UFUNCS = _of_numpy(
    """add subtract multiply divide true_divide floor_divide mod power maximum minimum equal
    not_equal greater greater_equal less less_equal logical_and logical_or logical_not
    negative absolute square sqrt exp expm1 log log1p log2 log10 sin cos tan tanh sign floor
    ceil reciprocal isnan isinf isfinite where"""
)
_ACTIVATIONS = {
    name: getattr(activations, name)
    for name in """relu relu6 leaky_relu sigmoid hard_sigmoid log_sigmoid softplus softsign silu
    hard_silu hard_tanh tanh_shrink elu selu""".split()
}
OPERATIONS: dict[str, Callable[..., Any]] = {
    **UFUNCS,
    **_ACTIVATIONS,
    "matmul": lambda x1, x2: np.matmul(x1, x2),
    **{
        name: _reduced(getattr(np, name))
        for name in "mean sum prod max min any all var std".split()
    },
    "argmax": lambda x, axis=None, keepdims=False: np.argmax(x, axis, keepdims=keepdims),
    "argmin": lambda x, axis=None, keepdims=False: np.argmin(x, axis, keepdims=keepdims),
    "cast": _cast,
    "clip": lambda x, x_min, x_max: np.clip(x, x_min, x_max),
    "concatenate": lambda xs, axis=-1: np.concatenate(xs, axis),
    "convert_to_tensor": _identity,
    "cumsum": lambda x, axis=None: np.cumsum(x, axis),
    "dot": lambda x1, x2: np.dot(x1, x2),
    "expand_dims": lambda x, axis: np.expand_dims(x, tuple(axis) if type(axis) is list else axis),
    "flip": lambda x, axis=None: np.flip(x, axis),
    "gelu": _gelu,
    "get_item": lambda x, key: x[tuple(key) if isinstance(key, list) else key],
    "identity": _identity,
    "log_softmax": _last(activations.log_softmax),
    "moveaxis": lambda x, source, destination: np.moveaxis(x, source, destination),
    "norm": _norm,
    "normalize": _normalize,
    "one_hot": _one_hot,
    "ones_like": _like(np.ones_like),
    "pad": _pad,
    "repeat": _repeat,
    "reshape": lambda x, newshape: np.reshape(x, [-1 if n is None else n for n in newshape]),
    "roll": lambda x, shift, axis=None: np.roll(x, shift, axis),
    "round": lambda x, decimals=0: np.round(x, decimals),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "softmax": _last(activations.softmax),
    "sort": lambda x, axis=-1: np.sort(x, axis),
    "split": lambda x, indices_or_sections, axis=0: np.split(x, indices_or_sections, axis),
    "squeeze": lambda x, axis=None: np.squeeze(x, tuple(axis) if type(axis) is list else axis),
    "stack": lambda xs, axis=0: np.stack(xs, axis),
    "stop_gradient": _identity,
    "swapaxes": lambda x, axis1, axis2: np.swapaxes(x, axis1, axis2),
    "take": lambda x, indices, axis=None: np.take(x, indices, axis),
    "take_along_axis": lambda x, indices, axis=None: np.take_along_axis(x, indices, axis),
    "tile": _tile,
    "transpose": lambda x, axes=None: np.transpose(x, axes),
    "unstack": _unstack,
    "zeros_like": _like(np.zeros_like),
    WITHOUT_MASK: _identity,
    WITH_MASK_OF: _identity,
    REVERSED_MASK: _identity,
    REVERSED_STEPS: lambda x: np.flip(x, 1),
}

# Those that compute each number by itself.
BY_NUMBER = {
    *(*UFUNCS, *_ACTIVATIONS),
    *("cast", "clip", "convert_to_tensor", "gelu", "identity", "ones_like", "round", "rsqrt"),
    *("stop_gradient", "zeros_like", WITHOUT_MASK),
}


def is_input(value: Any) -> bool:
    """Whether an argument of an operation stands for one of its inputs."""
    return isinstance(value, dict) and set(value) == {"input"}


def filled(value: Any, inputs: list[Array]) -> Any:
    """An argument with arrays in their places."""
    if isinstance(value, list):
        return [filled(one, inputs) for one in value]
    if not isinstance(value, dict):
        return value
    if is_input(value):
        return inputs[value["input"]]
    if set(value) == {"slice"}:
        return slice(*(filled(one, inputs) for one in value["slice"]))
    if set(value) == {"ellipsis"}:
        return Ellipsis
    if set(value) == {"array", "dtype"}:
        return _cast(np.asarray(value["array"]), value["dtype"])
    raise ValueError(f"an argument of an operation is of no known form: {shown(value)}")
