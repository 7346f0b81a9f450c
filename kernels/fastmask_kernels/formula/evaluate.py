"""Values of a formula in NumPy: slow, plain, and independent of the kernels' code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .symbols import BINARY, EPSILON, Symbol


def evaluate(roots: Sequence[Symbol], known: dict[Symbol, Any]) -> list[Any]:
    """Values of symbols in NumPy.

    Args:
        roots: the symbols.
        known: values of the leaves, and of what else is known: (..., H).
    """
    got: dict[int, Any] = {id(symbol): value for symbol, value in known.items()}

    def value(symbol: Symbol) -> Any:
        if id(symbol) not in got:
            got[id(symbol)] = _VALUES[symbol.op](symbol, *map(value, symbol.operands))
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


def _activation(name: str) -> Callable[..., Any]:
    functions: dict[str, Callable[[Any], Any]] = {
        "exp": np.exp,
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "relu": lambda x: np.maximum(x, 0),
        "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    }
    return lambda _, x: functions[name](x)


def _slope_value(symbol: Symbol, y: Any) -> Any:
    if symbol.args[0] == "relu":
        return (y > 0) * 1.0
    return ((y > 0) & (y < 1)) / 6


_VALUES: dict[str, Callable[..., Any]] = {
    **{op: lambda _, a, b, f=f: f(a, b) for op, f in BINARY.items()},
    **{name: _activation(name) for name in ("exp", "tanh", "sigmoid", "relu", "hard_sigmoid")},
    "constant": lambda symbol: symbol.args[0],
    "is_first": lambda _, y, a: (y == a) * 1.0,
    "slope": _slope_value,
    "moments": _moments,
    "normalized": lambda _, moments, x: (x - moments[0]) * moments[1],
    "scale": lambda _, moments: moments[1],
    "means": _means,
    "mean": lambda symbol, means: means[symbol.args[1]],
}
