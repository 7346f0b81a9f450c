"""Python's `math`, `max` and `min` as kernels see them: with Numba's types, and as a GPU rounds.

Functions of float32 return float32, all others float64. None raises: a result may be infinite or
NaN. `max` and `min` of a number and NaN are the number.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

Function = Callable[..., Any]


def _of_one(ufunc: Function) -> Function:
    def compute(x: Any) -> Any:
        return ufunc(x if type(x) is np.float32 else float(x))

    return compute


def _of_two(ufunc: Function) -> Function:
    def compute(x: Any, y: Any) -> Any:
        if type(x) is type(y) is np.float32:
            return ufunc(x, y)
        return ufunc(float(x), float(y))

    return compute


def _of_python(function: Function, at_a_fault: Function) -> Function:
    """A function that NumPy lacks, with what it gives where Python raises."""

    def compute(*args: Any) -> Any:
        try:
            found = function(*args)
        except (OverflowError, ValueError):
            found = at_a_fault(*args)
        single = all(type(one) is np.float32 for one in args)
        return np.float32(found) if single else np.float64(found)

    return compute


def _gamma_at_a_fault(x: Any) -> float:
    return math.nan if x < 0 and x == np.floor(x) else math.copysign(math.inf, x)


def _pow(x: Any, y: Any) -> Any:
    """In Numba a float32 to the power of an integer is a float32."""
    if type(x) is np.float32 and isinstance(y, (int, np.integer)):
        return np.power(x, np.float32(y))
    return _of_two(np.power)(x, y)


def _ldexp(x: Any, exponent: Any) -> Any:
    return np.ldexp(x if type(x) is np.float32 else float(x), exponent)


_ONE = (  # exp2 is new in Python 3.11
    *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "fabs"),
    *("sin", "cos", "tan", "sinh", "cosh", "tanh", "degrees", "radians"),
    *("floor", "ceil", "trunc", "frexp", "modf"),
)
_INVERSE = ("sin", "cos", "tan", "sinh", "cosh", "tanh")
_TWO = {name: getattr(np, name) for name in ("copysign", "fmod", "hypot", "nextafter")}

MATH = SimpleNamespace(
    **{
        **vars(math),
        **{name: _of_one(getattr(np, name)) for name in _ONE if hasattr(math, name)},
        **{f"a{name}": _of_one(getattr(np, f"arc{name}")) for name in _INVERSE},
        **{name: _of_two(ufunc) for name, ufunc in {**_TWO, "atan2": np.arctan2}.items()},
        "pow": _pow,
        "ldexp": _ldexp,
        "erf": _of_python(math.erf, math.erf),
        "erfc": _of_python(math.erfc, math.erfc),
        "gamma": _of_python(math.gamma, _gamma_at_a_fault),
        "lgamma": _of_python(math.lgamma, lambda _: math.inf),
        "remainder": _of_python(math.remainder, lambda *_: math.nan),
    }
)


def _max(*given: Any, **options: Any) -> Any:
    if len(given) < 2 or options:
        return builtins.max(*given, **options)
    found = given[0]
    for one in given[1:]:
        if one > found or found != found:
            found = one
    return found


def _min(*given: Any, **options: Any) -> Any:
    if len(given) < 2 or options:
        return builtins.min(*given, **options)
    found = given[0]
    for one in given[1:]:
        if one < found or found != found:
            found = one
    return found


BUILTINS = {"max": _max, "min": _min}
