"""Values of a formula in NumPy: slow, plain, and independent of the kernels' code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from .symbols import BINARY, EPSILON, Symbol

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def evaluate(
    roots: Sequence[Symbol],
    known: Mapping[Symbol, Any],
    chosen: Mapping[str, str] = _NOTHING,
    functions: Mapping[str, Callable[..., Any]] = _NOTHING,
) -> list[Any]:
    """Values of symbols in NumPy.

    Args:
        roots: the symbols.
        known: values of the leaves, and of anything else that is known: (..., H).
        chosen: the functions that `activation` and `recurrent_activation` stand for, by name.
        functions: overrides by operation, called with the symbol and its operands' values.
    """
    got: dict[int, Any] = {id(symbol): value for symbol, value in known.items()}
    rules = {**_VALUES, **functions}

    def value(symbol: Symbol) -> Any:
        if id(symbol) not in got:
            args = list(map(value, symbol.operands))
            if symbol.op == "slope":
                name = symbol.args[0]
                got[id(symbol)] = _SLOPES[chosen.get(name, name)](*args)
            else:
                op = chosen.get(symbol.op, symbol.op)
                got[id(symbol)] = rules[op](symbol, *args)
        return got[id(symbol)]

    return list(map(value, roots))


def _moments(_: Symbol, *x: Any) -> tuple[Any, Any]:
    together = np.concatenate(x, axis=-1)
    mean = together.mean(axis=-1, keepdims=True)
    variance = ((together - mean) ** 2).mean(axis=-1, keepdims=True)
    return mean, 1 / np.sqrt(variance + EPSILON)


def _means(symbol: Symbol, *terms: Any) -> tuple[Any, Any]:
    def mean(values: tuple[Any, ...]) -> Any:
        return sum(v.mean(axis=-1, keepdims=True) for v in values) / symbol.args[0]

    return mean(terms[::2]), mean(terms[1::2])


_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: 0.5 * np.tanh(0.5 * x) + 0.5,  # exp(-x) would overflow for large -x
    "relu": lambda x: np.maximum(x, 0),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_sigmoid_keras2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "linear": lambda x: x,
}

_SLOPES: dict[str, Callable[[Any], Any]] = {
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
    "relu": lambda y: (y > 0) * 1.0,
    "hard_sigmoid": lambda y: ((y > 0) & (y < 1)) / 6,
    "hard_sigmoid_keras2": lambda y: ((y > 0) & (y < 1)) / 5,
    "linear": lambda _: 1.0,
}
"""Derivatives of activations, from their values."""

_VALUES: dict[str, Callable[..., Any]] = {
    **{op: lambda _, a, b, f=f: f(a, b) for op, f in BINARY.items()},
    **{name: lambda _, x, f=f: f(x) for name, f in _ACTIVATIONS.items()},
    "constant": lambda symbol: symbol.args[0],
    "is_first": lambda _, y, a: (y == a) * 1.0,
    "moments": _moments,
    "normalized": lambda _, moments, x: (x - moments[0]) * moments[1],
    "scale": lambda _, moments: moments[1],
    "means": _means,
    "mean": lambda symbol, means: means[symbol.args[1]],
}
