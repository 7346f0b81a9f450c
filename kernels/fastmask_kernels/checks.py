"""Wrong arguments raise at the door of a kernel instead of touching memory behind it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from .spec import ACTIVATIONS, ANY, KERNELS, OPTIONAL, REAL, Argument

_SIZE = re.compile(r"(\d*)([A-Z]?)(?:\+(\d+))?")  # "B", "4H", "B+1", "1"
_OWNS_DATA = 4  # in the number that NumPy makes of an array's flags
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
            output that cannot be written or that shares memory with another array; an activation
            or a size is unknown.
    """
    spec = KERNELS[function.__name__]
    signature = inspect.signature(function)
    names = tuple(a.name for a in spec.arguments)
    if tuple(signature.parameters) != names:
        raise TypeError(f"{spec.name} must take {names}, not {tuple(signature.parameters)}")

    arrays = tuple((i, a, a.shape) for i, a in enumerate(spec.arguments) if a.shape is not None)
    plain = tuple((i, a) for i, a in enumerate(spec.arguments) if a.shape is None)
    specified = [argument for _, argument, _ in arrays]
    given_of = itemgetter(*(i for i, _, _ in arrays))  # a tuple: every kernel has two or more
    known: dict[tuple[Any, ...], list[int]] = {}  # forms, and which arrays own no memory

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> None:
        if kwargs or len(args) != len(names):
            args = signature.bind(*args, **kwargs).args
        for i, argument in plain:
            _check_plain(argument, args[i])
        if door is not None:
            on_device = door([(argument.name, args[i]) for i, argument, _ in arrays])
            for (i, _, _), view in zip(arrays, on_device, strict=True):
                args = (*args[:i], view, *args[i + 1 :])
            keep_apart(on_device, specified)
        # Programs call with few forms again and again. To look one up takes 0.2 us an array,
        # to check it 2 us, which would be a fifth of a small LSTM.
        try:
            given = given_of(args)
            form = tuple([_form(array) for array in given])
        except AttributeError:
            form = ()
        views = known.get(form)
        if views is None:
            _check_form(arrays, args, host=door is None)
            if len(known) >= _MOST_FORMS:
                known.clear()
            views = [n for n, array in enumerate(given) if not array.flags.num & _OWNS_DATA]
            known[form] = views
        if door is None and not _own_memory(given, views):
            keep_apart(given, specified)
        function(*args)

    call.unchecked = function  # type: ignore[attr-defined]  # a new one
    return call


def _own_memory(given: tuple[Any, ...], views: list[int]) -> bool:
    """Whether NumPy arrays are seen at a glance to be of different memory.

    Args:
        given: the arrays.
        views: numbers of those that do not own their memory.
    """
    if not views:
        return len(set(map(id, given))) == len(given)
    owners, foreign = list(given), []
    for n in views:
        owner = given[n].base
        if type(owner) is np.ndarray and owner.base is None:
            owners[n] = owner
        else:  # whose memory it is only addresses tell
            foreign.append(n)
    return len(set(map(id, owners))) == len(owners) and not any(
        n != m and np.may_share_memory(given[n], other)
        for n in foreign
        for m, other in enumerate(given)
    )


def keep_apart(given: Sequence[Any], arguments: list[Argument]) -> None:
    """See that no output shares memory with another array.

    Args:
        given: arrays of NumPy or of one device; those with gaps are let through, because they
            are refused anyhow.
        arguments: what each of them is.

    Raises:
        ValueError: one does.
    """
    places = sorted(
        (start, start + array.nbytes, argument.name, argument.output)
        for array, argument in zip(given, arguments, strict=True)
        if array.size and array.flags.c_contiguous
        for start in (_address(array),)
    )
    end, of_all, end_of_outputs, of_outputs = 0, "", 0, ""
    for start, stop, name, output in places:
        if start < end_of_outputs or (output and start < end):
            other = of_outputs if start < end_of_outputs else of_all
            written, beside = (name, other) if output else (other, name)
            raise ValueError(f"{written} is an output and must not share memory with {beside}")
        if stop > end:
            end, of_all = stop, name
        if output:  # which ends last, because it is apart from all before
            end_of_outputs, of_outputs = stop, name


def _address(array: Any) -> int:
    if isinstance(array, np.ndarray):
        return int(array.__array_interface__["data"][0])
    return int(array.address)


def _form(array: Any) -> tuple[Any, ...]:
    """All that `_check_array` looks at."""
    return type(array), array.dtype, array.shape, array.flags.num


def _check_form(
    arrays: tuple[tuple[int, Argument, tuple[str, ...]], ...], args: tuple[Any, ...], host: bool
) -> None:
    """Check all that `_form` shows of the arrays among `args`.

    Args:
        arrays: place, specification and shape of each.
        args: of the call.
        host: whether they must be NumPy arrays.
    """
    sizes: dict[str, int] = {}
    seen: dict[str, str] = {}
    shared: dict[str, np.dtype[Any]] = {}
    for i, argument, shape in arrays:
        if host and not isinstance(args[i], np.ndarray):
            kind = type(args[i])
            came = f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.")
            raise TypeError(f"{argument.name} must be a NumPy array, not {came}")
        _check_array(argument, shape, args[i], sizes, seen, shared)
    for _, argument, shape in arrays:
        _check_optional(argument, shape, sizes)


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
        known = ", ".join(
            f"{k}={v}" + (f" of {seen[k]}" if k in seen else "") for k, v in sizes.items()
        )
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
