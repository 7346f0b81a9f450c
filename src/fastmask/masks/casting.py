"""Casts that keep every value, or raise an error that names one they would not keep.

Rounding to the nearest float counts as keeping. Errors are: floats cast to integers, integers out
of range, finite floats that become infinite, complex numbers cast to real ones, cut strings.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import product
from numbers import Complex, Integral, Real
from typing import Any

import numpy as np

from .._typing import FLOAT64, Array

_INTEGERS = dict.fromkeys("biu", (Integral,))
_NUMBER_OF_KIND = {**_INTEGERS, "f": (Real, Decimal), "c": (Complex, Decimal)}
_SUGGESTION = ": pass dtype='float32', or whole numbers"
_ROUNDING = {source + to for source, to in (*product("biuf", "fc"), ("c", "c"))}


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """`dtype` as NumPy understands it.

    Raises:
        TypeError: NumPy does not.
    """
    try:
        known: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError):
        raise TypeError(f"dtype must be a NumPy dtype or its name, not {dtype!r}") from None
    return known


def common_dtype(dtypes: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype that NumPy promotes `dtypes` to; float64 if there are none, as in NumPy.

    Raises:
        TypeError: they have none in common but object, or integers would become floats.
    """
    known = set(dtypes) or {FLOAT64}
    kinds = {dtype.kind for dtype in known}
    if kinds <= set(_NUMBER_OF_KIND) or (len(kinds) == 1 and "O" not in kinds):
        result = np.result_type(*known)
        if result.kind != "f" or "f" in kinds:
            return result
    names = ", ".join(sorted(map(str, known)))
    raise TypeError(
        f"dtype must be given: sequences hold {names}, which no dtype holds in common; give one, "
        "such as dtype='float64'"
    )


def fill_value(value: Any, dtype: np.dtype[Any], step: tuple[int, ...] = ()) -> Array:
    """`value` as an array of `dtype`, 0-d or of a shape that broadcasts to that of a step.

    Raises:
        ValueError: it has another shape, or `dtype` cannot hold it.
    """
    if dtype.hasobject:
        filled = np.empty((), dtype)
        filled[()] = value
        return filled
    try:
        given = np.asarray(value)
        if dtype.kind in "biu":
            given = _with_integers(given)
        np.broadcast_to(given, step)  # or raises
        check_cast(given, dtype, "value")
        if dtype.kind not in "fc":
            return given.astype(dtype)
        with np.errstate(over="raise"):
            return given.astype(dtype)
    except (ArithmeticError, TypeError, ValueError):
        pass
    each = f", or hold one for each number of a step (shape {step})" if step else ""
    such = ": give a string such as ''" if dtype.kind == "U" else ""
    raise ValueError(f"value must be one that dtype {dtype} can hold{each}, not {value!r}{such}")


def _with_integers(given: Array) -> Array:
    """Convert whole numbers to integers: 0.0, Keras's default, is accepted, and 0.5 is not."""
    numbers = [_integer(one) for one in given.ravel().tolist()]
    array = np.empty(given.shape, object)
    array.ravel()[:] = numbers
    return array


def _integer(number: Any) -> Any:
    whole = isinstance(number, (Real, Decimal)) and float(number).is_integer()
    return int(number) if whole else number


def check_cast(array: Array, dtype: np.dtype[Any], name: str) -> None:
    """Check that `dtype` can hold all values of `array`, infinity aside.

    Raises:
        ValueError: it cannot; the message calls the array `name`.
    """
    source = array.dtype
    if keeps_all(source, dtype) or array.size == 0:
        return
    if source.kind == "O":
        _check_objects(array, dtype, name)
    elif are_integers(source, dtype):
        check_range(array.min(), array.max(), dtype, name)
    else:
        raise ValueError(
            f"{name} has dtype {source}, which dtype {dtype} cannot hold without loss: "
            f"pass dtype='{source}', or convert the sequence first"
        )


def keeps_all(source: np.dtype[Any], dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` can hold whatever `source` holds, infinity aside."""
    return np.can_cast(source, dtype) or source.kind + dtype.kind in _ROUNDING


def check_range(least: Any, most: Any, dtype: np.dtype[Any], name: str) -> None:
    """Check that `dtype`, of integers or bool, reaches from `least` to `most`.

    Raises:
        ValueError: it does not.
    """
    low, high = integer_range(dtype)
    if least < low or most > high:
        bad = least if least < low else most
        raise ValueError(f"{name} holds {bad}, but dtype {dtype} holds only {low} to {high}")


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the largest number of a dtype of integers or bool."""
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def are_integers(*dtypes: np.dtype[Any]) -> bool:
    """Whether all `dtypes` hold integers; bool counts as 0 and 1."""
    return all(dtype.kind in "biu" for dtype in dtypes)


def _check_objects(array: Array, dtype: np.dtype[Any], name: str) -> None:
    number = _NUMBER_OF_KIND.get(dtype.kind)
    value: Any
    for value in array.ravel():
        if number is None or not isinstance(value, number):
            fraction = number == (Integral,) and isinstance(value, (Real, Decimal))
            raise ValueError(
                f"{name} holds {value!r} of type {type(value).__name__}, which dtype {dtype} "
                f"cannot hold{_SUGGESTION if fraction else ' without loss'}"
            )
        if number == (Integral,):
            check_range(value, value, dtype, name)
        elif isinstance(value, Decimal) and value.is_finite() and np.isinf(_rounded(value, dtype)):
            raise ValueError(f"{name} holds {value!r}, too large for dtype {dtype}")


def _rounded(value: Decimal, dtype: np.dtype[Any]) -> Any:
    with np.errstate(over="ignore"):
        return np.asarray(float(value)).astype(dtype)
