"""Wrong arguments raise at the door of a kernel instead of touching memory behind it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .spec import ACTIVATIONS, ANY, KERNELS, OPTIONAL, REAL, Argument

_SIZE = re.compile(r"(\d*)([A-Z]?)(?:\+(\d+))?")  # "B", "4H", "B+1", "1"
_MOST_FORMS = 1024  # remembered for each kernel
_REALS = (np.dtype(np.float32), np.dtype(np.float64))


Door = Callable[[list[tuple[str, Any]]], list[Any]]
"""From the names and values of a call's arrays to what its column computes on."""


def checked(function: Callable[..., None], door: Door | None = None) -> Callable[..., None]:
    """Check every call against the table's entry of the function's name.

    The function itself stays as attribute `unchecked`, for callers that made the arrays.

    Args:
        function: the kernel.
        door: turns the arrays of a call into objects with NumPy's `shape`, `ndim`, `dtype` and
            `flags`, which the function gets; without it they must be NumPy arrays.

    Raises:
        TypeError: an argument is missing, is not an array, or has another dtype.
        ValueError: an array has another shape, is not C-contiguous and aligned, or is an
            output that cannot be written; an activation or a size is unknown.
    """
    spec = KERNELS[function.__name__]
    signature = inspect.signature(function)
    names = tuple(a.name for a in spec.arguments)
    if tuple(signature.parameters) != names:
        raise TypeError(f"{spec.name} must take {names}, not {tuple(signature.parameters)}")

    arrays = tuple((i, a, a.shape) for i, a in enumerate(spec.arguments) if a.shape is not None)
    plain = tuple((i, a) for i, a in enumerate(spec.arguments) if a.shape is None)
    known: set[tuple[Any, ...]] = set()

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> None:
        if kwargs or len(args) != len(names):
            args = signature.bind(*args, **kwargs).args
        for i, argument in plain:
            _check_plain(argument, args[i])
        if door is not None:
            views = door([(argument.name, args[i]) for i, argument, _ in arrays])
            for (i, _, _), view in zip(arrays, views, strict=True):
                args = (*args[:i], view, *args[i + 1 :])
        # Programs call with few forms again and again. To look one up takes 0.2 us an array,
        # to check it 2 us, which would be a fifth of a small LSTM.
        try:
            form = tuple([_form(args[i]) for i, _, _ in arrays])
        except AttributeError:
            form = ()
        if form not in known:
            sizes: dict[str, int] = {}
            seen: dict[str, str] = {}
            shared: dict[str, np.dtype[Any]] = {}
            for i, argument, shape in arrays:
                if door is None and not isinstance(args[i], np.ndarray):
                    kind = type(args[i])
                    came = f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.")
                    raise TypeError(f"{argument.name} must be a NumPy array, not {came}")
                _check_array(argument, shape, args[i], sizes, seen, shared)
            for _, argument, shape in arrays:
                _check_optional(argument, shape, sizes)
            if len(known) >= _MOST_FORMS:
                known.clear()
            known.add(form)
        function(*args)

    call.unchecked = function  # type: ignore[attr-defined]  # a new one
    return call


def _form(array: Any) -> tuple[Any, ...]:
    """All that `_check_array` looks at."""
    return type(array), array.dtype, array.shape, array.flags.num


def _check_plain(argument: Argument, value: Any) -> None:
    if argument.dtype == "activation" and value not in ACTIVATIONS:
        raise ValueError(f"{argument.name} must be one of {ACTIVATIONS}, not {value!r}")
    if argument.name == "threads" and value < 1:
        raise ValueError(f"threads must be at least 1, not {value!r}")


def _check_array(
    argument: Argument,
    shape: tuple[str, ...],
    value: Any,
    sizes: dict[str, int],
    seen: dict[str, str],
    shared: dict[str, np.dtype[Any]],
) -> None:
    """Check an array; `sizes` are those of the arrays before it, `seen` says of which."""
    name = argument.name
    dtype = value.dtype
    if argument.dtype in (REAL, ANY):
        expected = shared.setdefault(argument.dtype, dtype)
        if argument.dtype == REAL and dtype not in _REALS:
            raise TypeError(f"{name} must be float32 or float64, not {dtype}")
        if dtype.hasobject:
            raise TypeError(f"{name} must have a fixed-size dtype, not {dtype}")
    else:
        expected = np.dtype(argument.dtype)
    if dtype != expected:
        raise TypeError(f"{name} must have dtype {expected}, not {dtype}")
    if value.ndim != len(shape) or not all(
        _fits(size, word, sizes) for size, word in zip(value.shape, shape, strict=True)
    ):
        known = ", ".join(f"{k}={v}" + f" of {seen[k]}" * (k in seen) for k, v in sizes.items())
        raise ValueError(
            f"{name} must have shape ({', '.join(shape)}) with {known}, not {value.shape}"
        )
    for letter in sizes:
        seen.setdefault(letter, name)
    flags = value.flags
    if not (flags.c_contiguous and flags.aligned):
        raise ValueError(f"{name} must be C-contiguous and aligned")
    if argument.output and not flags.writeable:
        raise ValueError(f"{name} is an output and must be writeable")


def _check_optional(argument: Argument, shape: tuple[str, ...], sizes: dict[str, int]) -> None:
    """Once all sizes are known: whether an optional one is nothing or all."""
    for letter in shape:
        if letter in OPTIONAL and sizes[letter] not in (0, sizes[OPTIONAL[letter]]):
            whole = OPTIONAL[letter]
            raise ValueError(
                f"{argument.name} must have shape ({', '.join(shape)}) where {letter} is "
                f"{whole}={sizes[whole]} or 0, not {letter}={sizes[letter]}"
            )


@functools.cache
def _parse(word: str) -> tuple[int, str, int]:
    match = _SIZE.fullmatch(word)
    assert match is not None, word
    factor, letter, more = match.groups()
    if not letter:
        return 0, "", int(factor)
    return int(factor or 1), letter, int(more or 0)


def _fits(size: int, word: str, sizes: dict[str, int]) -> bool:
    """Whether `size` agrees with `word`; an unseen letter takes the value that makes it fit."""
    factor, letter, more = _parse(word)
    if not letter:
        return size == more
    if letter not in sizes:
        if (size - more) % factor or size < more:
            return False
        sizes[letter] = (size - more) // factor
    return size == factor * sizes[letter] + more
