"""Operations on arrays that models from other libraries have between their layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import activations
from .._checks import shown
from .._typing import Array
from ._einsum import einsum_steps

# Operations on masks: drop it, take that of another input, reverse it, keep it for reversed steps.
WITHOUT_MASK, WITH_MASK_OF = "without_mask", "with_mask_of"
REVERSED_MASK, REVERSED_STEPS = "reversed_mask", "reversed_steps"
OF_MASKS = {WITHOUT_MASK, WITH_MASK_OF, REVERSED_MASK, REVERSED_STEPS}
_MOST_REPEATS = 4096
_MOST_CLASSES = 2**16
_KINDS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


def _of_numpy(names: str) -> dict[str, Callable[..., Any]]:
    return {name: getattr(np, name) for name in names.split()}


def _kind(dtype: str | None) -> str | None:
    name = "float32" if dtype == "bfloat16" else dtype
    if name is not None and name not in _KINDS:
        raise ValueError(f"dtype must be one of {', '.join(_KINDS)}, not {shown(dtype)}")
    return name


def _cast(x: Array, dtype: str | None) -> Array:
    kind = _kind(dtype)
    return x if kind is None else x.astype(kind)


def _repeat(x: Array, repeats: int, axis: int | None = None) -> Array:
    if type(repeats) is not int or not 0 <= repeats <= _MOST_REPEATS:
        raise ValueError(
            f"repeats must be an integer from 0 to {_MOST_REPEATS}, not {shown(repeats)}"
        )
    return np.repeat(x, repeats, axis)


def _check_growth(factor: int) -> None:
    if factor > _MOST_REPEATS:
        raise ValueError(f"the result is {factor} times the input; at most {_MOST_REPEATS}")


def _tile(x: Array, repeats: Any) -> Array:
    _check_growth(math.prod(repeats) if isinstance(repeats, list) else repeats)
    return np.tile(x, repeats)


def _pad(x: Array, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Array:
    added = np.broadcast_to(pad_width, (x.ndim, 2)).sum(1).tolist()
    sizes = [n + more for n, more in zip(x.shape, added, strict=True)]
    _check_growth(math.prod(sizes) // max(x.size, 1))
    options = {} if constant_values is None else {"constant_values": constant_values}
    return np.pad(x, pad_width, mode, **options)  # type: ignore[call-overload,no-any-return]  # a file chooses the mode


def _one_hot(
    x: Array, num_classes: int, axis: int = -1, dtype: str | None = None, sparse: bool = False
) -> Array:
    if sparse:
        raise ValueError(f"sparse must be False, not {shown(sparse)}")
    if type(num_classes) is not int or not 0 < num_classes <= _MOST_CLASSES:
        raise ValueError(
            f"num_classes must be an integer from 1 to {_MOST_CLASSES}, not {shown(num_classes)}"
        )
    found = _cast(x[..., None] == np.arange(num_classes), dtype or "float32")
    return np.moveaxis(found, -1, axis)


def _gelu(x: Array, approximate: bool = False) -> Array:
    if not approximate:
        return activations.gelu(x)
    return x * (0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _last(function: Callable[[Array], Array]) -> Callable[..., Array]:
    """Let a function over the last axis take any axis."""
    return lambda x, axis=-1: np.moveaxis(function(np.moveaxis(x, axis, -1)), -1, axis)


def _unstack(x: Array, num: int | None = None, axis: int = 0) -> list[Array]:  # noqa: ARG001 - Keras's signature
    return list(np.moveaxis(x, axis, 0))


def _axes(axis: Any) -> Any:
    """An argument `axis` as NumPy takes it: files have lists for tuples."""
    return tuple(axis) if isinstance(axis, list) else axis


def _norm(x: Array, ord: int | None = None, axis: Any = None, keepdims: bool = False) -> Any:
    return np.linalg.norm(x, ord, _axes(axis), keepdims)


def _normalize(x: Array, axis: int = -1, order: int = 2, epsilon: float | None = None) -> Array:
    least = 1e-7 if epsilon is None else epsilon
    size: Array = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.maximum(size, least)


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
        return function(x, axis=_axes(axis), keepdims=keepdims)

    return reduce


def _average(x: Array, axis: int | None = None, weights: Any = None) -> Any:
    if weights is None:
        return np.mean(x, axis)
    shares = np.asarray(weights)
    if shares.ndim == 1 and axis is not None:
        moved = np.moveaxis(x, axis, -1)
        return np.sum(moved * np.broadcast_to(shares, moved.shape), -1) / np.sum(shares)
    shares = np.broadcast_to(shares, x.shape)
    return np.sum(x * shares, axis) / np.sum(shares, axis)


def _count(x: Array, axis: Any = None) -> Any:
    return np.sum(x != 0, axis=_axes(axis), dtype=np.int32)


def _cumulated(function: Callable[..., Array]) -> Callable[..., Array]:
    def cumulate(x: Array, axis: int | None = None, dtype: str | None = None) -> Array:
        return _cast(function(x, axis), dtype)

    return cumulate


def _diff(x: Array, n: int = 1, axis: int = -1) -> Array:
    if type(n) is not int or not 0 <= n <= _MOST_REPEATS:
        raise ValueError(f"n must be an integer from 0 to {_MOST_REPEATS}, not {shown(n)}")
    return np.diff(x, n, axis)


def _einsum(*xs: Array, subscripts: Any = None) -> Array:
    _check_growth(einsum_steps(subscripts, xs) // max(sum(x.size for x in xs), 1))
    result: Array = np.einsum(subscripts, *xs, optimize=True)
    return result


def _glu(x: Array, axis: int = -1) -> Array:
    first, second = np.split(x, 2, axis)
    return first * activations.sigmoid(second)


def _logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    axes = _axes(axis)
    top = np.max(x, axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)  # infinite ones are added as they are
    total = np.log(np.sum(np.exp(x - top), axis=axes, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axes)


def _top_k(x: Array, k: int, sorted: bool = True) -> list[Array]:  # noqa: ARG001 - else any order
    """The largest numbers along the last axis, and their places; the first of equal ones first."""
    size = x.shape[-1]
    if type(k) is not int or not 0 <= k <= size:
        raise ValueError(f"k must be at most the size of the last axis, {size}, not {shown(k)}")
    order = size - 1 - np.argsort(np.flip(x, -1), -1, kind="stable")
    places = np.flip(order, -1)[..., :k]
    return [np.take_along_axis(x, places, -1), places.astype(np.int32)]


def _triangle(function: Callable[..., Array]) -> Callable[..., Array]:
    def keep(x: Array, k: int = 0) -> Array:
        if type(k) is not int or x.ndim < 2:
            raise ValueError(f"k must be an integer, and axes at least 2, not {shown(k)}, {x.ndim}")
        most = max(x.shape)
        return function(x, max(-most, min(k, most)))

    return keep


def _divide_no_nan(x1: Array, x2: Array) -> Array:
    return np.where(np.equal(x2, 0), np.zeros((), np.float32), np.divide(x1, x2))


def _soft_shrink(x: Array, threshold: float = 0.5) -> Array:
    shrunk: Array = x - np.clip(x, -threshold, threshold)
    return shrunk


def _identity(x: Array, *_: object, **__: object) -> Array:
    return x


def _like(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda x, dtype=None: function(x, _kind(dtype))


UFUNCS = _of_numpy(
    """add subtract multiply divide true_divide floor_divide mod fmod power maximum minimum fmax
    fmin equal not_equal greater greater_equal less less_equal logical_and logical_or
    logical_not logical_xor negative absolute square sqrt cbrt exp exp2 expm1 log log1p log2
    log10 logaddexp hypot sin cos tan sinh cosh tanh arcsin arccos arctan arctan2 arcsinh
    arccosh arctanh sign floor ceil trunc reciprocal isnan isinf isfinite where"""
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
        for name in "mean sum prod max min amax amin any all var std median".split()
    },
    "argmax": lambda x, axis=None, keepdims=False: np.argmax(x, axis, keepdims=keepdims),
    "argsort": lambda x, axis=-1: np.argsort(x, axis, kind="stable").astype(np.int32),
    "average": _average,
    "celu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
    "copy": _identity,
    "count_nonzero": _count,
    "argmin": lambda x, axis=None, keepdims=False: np.argmin(x, axis, keepdims=keepdims),
    "cast": _cast,
    "clip": lambda x, x_min, x_max: np.clip(x, x_min, x_max),
    "concatenate": lambda xs, axis=-1: np.concatenate(xs, axis),
    "convert_to_tensor": _identity,
    "cumprod": _cumulated(np.cumprod),
    "cumsum": _cumulated(np.cumsum),
    "diff": _diff,
    "divide_no_nan": _divide_no_nan,
    "dot": lambda x1, x2: np.dot(x1, x2),
    "einsum": _einsum,
    "erf": lambda x: activations.erf(x / 1),  # integers become floats
    "expand_dims": lambda x, axis: np.expand_dims(x, _axes(axis)),
    "flip": lambda x, axis=None: np.flip(x, axis),
    "full_like": lambda x, fill_value, dtype=None: np.full_like(x, fill_value, _kind(dtype)),
    "gelu": _gelu,
    "get_item": lambda x, key: x[tuple(key) if isinstance(key, list) else key],
    "glu": _glu,
    "hard_shrink": lambda x, threshold=0.5: np.where(np.abs(x) > threshold, x, 0),
    "identity": _identity,
    "logsumexp": _logsumexp,
    "log_softmax": _last(activations.log_softmax),
    "moveaxis": lambda x, source, destination: np.moveaxis(x, source, destination),
    "nan_to_num": lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(
        x, nan=nan, posinf=posinf, neginf=neginf
    ),
    "norm": _norm,
    "normalize": _normalize,
    "one_hot": _one_hot,
    "ones_like": _like(np.ones_like),
    "pad": _pad,
    "ravel": lambda x: np.reshape(x, -1),
    "repeat": _repeat,
    "reshape": lambda x, newshape: np.reshape(x, [-1 if n is None else n for n in newshape]),
    "roll": lambda x, shift, axis=None: np.roll(x, shift, axis),
    "round": lambda x, decimals=0: np.round(x, decimals),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "softmax": _last(activations.softmax),
    "soft_shrink": _soft_shrink,
    "squareplus": lambda x, b=4: (x + np.sqrt(x * x + b)) / 2,
    "sort": lambda x, axis=-1: np.sort(x, axis),
    "split": lambda x, indices_or_sections, axis=0: np.split(x, indices_or_sections, axis),
    "squeeze": lambda x, axis=None: np.squeeze(x, _axes(axis)),
    "stack": lambda xs, axis=0: np.stack(xs, axis),
    "stop_gradient": _identity,
    "swapaxes": lambda x, axis1, axis2: np.swapaxes(x, axis1, axis2),
    "take": lambda x, indices, axis=None: np.take(x, indices, axis),
    "take_along_axis": lambda x, indices, axis=None: np.take_along_axis(x, indices, axis),
    "threshold": lambda x, threshold, default_value: np.where(x > threshold, x, default_value),
    "tile": _tile,
    "top_k": _top_k,
    "transpose": lambda x, axes=None: np.transpose(x, axes),
    "tril": _triangle(np.tril),
    "triu": _triangle(np.triu),
    "unstack": _unstack,
    "zeros_like": _like(np.zeros_like),
    WITHOUT_MASK: lambda x, ends_count=True: x,  # noqa: ARG005 - see `Operation._carry`
    WITH_MASK_OF: _identity,
    REVERSED_MASK: _identity,
    REVERSED_STEPS: lambda x: np.flip(x, 1),
}

# Those that compute each number by itself.
BY_NUMBER = {
    *(*UFUNCS, *_ACTIVATIONS),
    *("cast", "celu", "clip", "convert_to_tensor", "copy", "divide_no_nan", "erf", "full_like"),
    *("gelu", "hard_shrink", "identity", "nan_to_num", "ones_like", "round", "rsqrt"),
    *("soft_shrink", "squareplus", "stop_gradient", "threshold", "zeros_like", WITHOUT_MASK),
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
