"""Checks of dtypes, shapes and flags: each letter is one size in all arrays of a call."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np

from .spec import ANY, OPTIONAL, REAL, Argument

_SIZE = re.compile(r"(\d*)([A-Z]?)(?:\+(\d+))?")  # "B", "4H", "B+1", "1"
_REALS = (np.dtype(np.float32), np.dtype(np.float64))


class _Sizes:
    """The sizes that the arrays of a call have so far."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}  # by letter
        self.seen: dict[str, str] = {}  # by letter: the first array that has it, with its shape
        self.dtypes: dict[str, np.dtype[Any]] = {}


def check_arrays(
    arrays: tuple[tuple[int, Argument, tuple[str, ...]], ...], args: tuple[Any, ...], host: bool
) -> None:
    """Check dtypes, shapes and flags of the arrays among `args`.

    Args:
        arrays: place, specification and shape of each.
        args: of the call.
        host: whether they must be NumPy arrays.
    """
    sizes = _Sizes()
    for i, argument, shape in arrays:
        if host and not isinstance(args[i], np.ndarray):
            kind = type(args[i])
            came = f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.")
            raise TypeError(f"{argument.name} must be a NumPy array, not {came}")
        _check_array(argument, shape, args[i], sizes)
        _check_flags(argument, args[i], host)
    for _, argument, shape in arrays:
        _check_optional(argument, shape, sizes.of)


def _check_array(argument: Argument, shape: tuple[str, ...], value: Any, sizes: _Sizes) -> None:
    """Check one array, given the sizes of those before it."""
    name, dtype = argument.name, value.dtype
    if argument.dtype in (REAL, ANY):
        expected = sizes.dtypes.setdefault(argument.dtype, dtype)
        if argument.dtype == REAL and dtype not in _REALS:
            raise TypeError(f"{name} must be float32 or float64, not {dtype}")
        if dtype.hasobject:
            raise TypeError(f"{name} must have a fixed-size dtype, not {dtype}")
    else:
        expected = np.dtype(argument.dtype)
    if dtype != expected:
        raise TypeError(f"{name} must have dtype {expected}, not {dtype}")
    found = _fitting(value.shape, shape, sizes.of)
    if found is None:
        raise ValueError(_wrong_shape(name, shape, value.shape, sizes))
    sizes.of = found
    for letter in found:
        sizes.seen.setdefault(letter, f"{name} {value.shape}")


def _check_flags(argument: Argument, value: Any, host: bool) -> None:
    """Check how an array lies in memory, and that an output can be written."""
    name, flags = argument.name, value.flags
    if not flags.c_contiguous:
        came = f"with strides {value.strides}" if host else "transposed or with gaps"
        copy = f"np.ascontiguousarray({name})"
        if not host:
            copy = f"cupy.ascontiguousarray({name}), or {name}.contiguous() in torch"
        fix = "an output is allocated so" if argument.output else f"pass {copy}"
        raise ValueError(f"{name} must be C-contiguous, not {came}: {fix}")
    if not flags.aligned:
        begin = f"begin at a multiple of {value.dtype.alignment} bytes in memory"
        raise ValueError(f"{name} must be aligned, that is {begin}: a copy of it does")
    if argument.output and not flags.writeable:
        raise ValueError(f"{name} is an output and must be writeable")


def _wrong_shape(name: str, shape: tuple[str, ...], came: tuple[int, ...], sizes: _Sizes) -> str:
    """The message for a shape that does not fit: the array's own fault, or another's."""
    known, own = sizes.of, _fitting(came, shape, {})
    letters = [k for k in dict.fromkeys(parse(word)[1] for word in shape) if k in known]
    if own is not None:  # it may be another array that is wrong
        letters = [letter for letter in letters if own[letter] != known[letter]]
    given = ", ".join(f"{k}={known[k]} of {sizes.seen[k]}" for k in letters)
    message = f"{name} must have shape ({', '.join(shape)})"
    message += (f" with {given}" if given else "") + f", not {came}"
    if own is not None:
        others = ", ".join(f"{k}={own[k]}" for k in letters)
        return f"{message} with {others}: one of these arrays is wrong"
    for size, word in zip(came, shape, strict=False):
        factor, letter, _ = parse(word)
        if len(came) == len(shape) and letter and size % factor:
            return f"{message}: {size} is not a multiple of {factor}"
    return message


def _check_optional(argument: Argument, shape: tuple[str, ...], sizes: dict[str, int]) -> None:
    """Check, once all sizes are known, that an optional one is 0 or complete."""
    for letter in shape:
        if letter in OPTIONAL and sizes[letter] not in (0, sizes[OPTIONAL[letter]]):
            whole = OPTIONAL[letter]
            raise ValueError(
                f"{argument.name} must have shape ({', '.join(shape)}) where {letter} is "
                f"{whole}={sizes[whole]} or 0, not {letter}={sizes[letter]}"
            )


def _fitting(
    came: tuple[int, ...], shape: tuple[str, ...], sizes: dict[str, int]
) -> dict[str, int] | None:
    """The sizes and those that a shape adds to them; None if it does not agree with them."""
    found = dict(sizes)
    if len(came) != len(shape) or not all(map(_fits, came, shape, [found] * len(came))):
        return None
    return found


@functools.cache
def parse(word: str) -> tuple[int, str, int]:
    """Factor, letter and summand of a size; "" and the number for a fixed one."""
    match = _SIZE.fullmatch(word)
    assert match is not None, word
    factor, letter, more = match.groups()
    if not letter:
        return 0, "", int(factor)
    return int(factor or 1), letter, int(more or 0)


def _fits(size: int, word: str, sizes: dict[str, int]) -> bool:
    """Whether `size` agrees with `word`; an unseen letter takes the value that makes it fit."""
    factor, letter, more = parse(word)
    if not letter:
        return size == more
    if letter not in sizes:
        if (size - more) % factor or size < more:
            return False
        sizes[letter] = (size - more) // factor
    return size == factor * sizes[letter] + more
