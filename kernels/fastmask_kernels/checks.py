"""Argument checks of every kernel, from its specification.

Wrong arguments raise here; the kernels themselves access memory without any check.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Protocol, cast

import numpy as np

from .spec import ACTIVATIONS, ANY, KERNELS, OPTIONAL, REAL, SIZES, Argument, Kernel

_SIZE = re.compile(r"(\d*)([A-Z]?)(?:\+(\d+))?")  # "B", "4H", "B+1", "1"
_OWNS_DATA = 4  # a bit of an array's `flags.num`
_MOST_FORMS = 1024  # remembered for each kernel
_REALS = (np.dtype(np.float32), np.dtype(np.float64))


ViewsOf = Callable[[list[tuple[str, Any]]], list[Any]]
"""From the names and values of a call's arrays to what its backend computes on."""


class TableFunction(Protocol):
    """A kernel of the table."""

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Check the arguments, and run."""

    @property
    def unchecked(self) -> Callable[..., None]:
        """The same without checks, for callers that made the arrays; positional only."""


def checked(
    function: Callable[..., None], views_of: ViewsOf | None = None, kernel: Kernel | None = None
) -> TableFunction:
    """Make a kernel of the table, by default the one of the function's name.

    Args:
        function: what computes it. It takes the kernel's arguments, or a single one, `call`: a
            named tuple of them all.
        kernel: the specification, for a cell that is not in the table.
        views_of: turns the arrays of a call into objects with NumPy's `shape`, `ndim`, `dtype`
            and `flags`, which the function gets; without it they must be NumPy arrays.

    Returns:
        A function that raises
            TypeError: an argument is missing, is not an array, or has another dtype.
            ValueError: an array has another shape, is not C-contiguous and aligned, or is an
                output that cannot be written or that shares memory with another array; an
                activation is unknown, or `threads` is below 1.

    Raises:
        TypeError: the function takes other arguments than the kernel.
        ValueError: there is no kernel of the function's name in the table.
    """
    spec = kernel or _named(function.__name__)
    unchecked = of_arguments(function, spec)
    names, signature = spec.call._fields, inspect.signature(unchecked)
    if tuple(signature.parameters) != names:
        raise TypeError(f"{spec.name} must take {names}, not {tuple(signature.parameters)}")
    check = _Checks(spec, views_of).check

    @functools.wraps(unchecked)
    def call(*args: Any, **kwargs: Any) -> None:
        if kwargs or len(args) != len(names):
            args = signature.bind(*args, **kwargs).args
        unchecked(*check(args))

    call.__name__ = spec.name
    call.__doc__ = _described(spec, function.__doc__ or "")
    call.unchecked = unchecked  # type: ignore[attr-defined]  # a new one
    return cast(TableFunction, call)


def of_arguments(
    function: Callable[..., None], kernel: Kernel | None = None
) -> Callable[..., None]:
    """A function of the kernel's arguments; the given one may take them as a named tuple."""
    if tuple(inspect.signature(function).parameters) != ("call",):
        return function
    spec = kernel or _named(function.__name__)
    new_call = functools.partial(tuple.__new__, spec.call)

    @functools.wraps(function)
    def unpacked(*args: Any) -> None:
        function(new_call(args))

    names, kind = spec.call._fields, inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in names]
    unpacked.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect's
    return unpacked


def _named(name: str) -> Kernel:
    """The kernel of the table that has a function's name."""
    if name not in KERNELS:
        raise ValueError(
            f"{name} is not in the table of fastmask_kernels.spec: give `checked` its `Kernel`"
        )
    return KERNELS[name]


def _described(spec: Kernel, notes: str) -> str:
    """The docstring of a kernel: what the table says of it, and a backend's notes."""
    lines = [f"{spec.summary}.", "", "Args:"]
    for argument in spec.arguments:
        shape = "" if argument.shape is None else f" ({', '.join(argument.shape)})"
        written = ", written" if argument.output else ""
        lines.append(f"    {argument.name}: {argument.dtype}{shape}{written}.")
    more = f"{_sizes_of(spec)} See `help(fastmask_kernels.spec)`"
    return "\n".join([*lines, "", inspect.cleandoc(notes).replace("See `spec`", more)])


def _sizes_of(spec: Kernel) -> str:
    """What the letters of a kernel's shapes stand for."""
    words = [word for argument in spec.arguments for word in argument.shape or ()]
    letters = {_parse(word)[1] for word in words}
    whole = [f"{letter} {meaning}" for letter, meaning in SIZES.items() if letter in letters]
    parts = [f"{letter} is {of} or 0" for letter, of in OPTIONAL.items() if letter in letters]
    return f"Sizes: {', '.join(whole + parts)}."


class _Checks:
    """The checks of one kernel's arguments."""

    def __init__(self, spec: Kernel, views_of: ViewsOf | None) -> None:
        arguments = list(enumerate(spec.arguments))
        self._views_of = views_of
        self._arrays = tuple((i, a, a.shape) for i, a in arguments if a.shape is not None)
        self._specified = [argument for _, argument, _ in self._arrays]
        self._given_of = itemgetter(*(i for i, _, _ in self._arrays))  # all have two or more
        self._activations = [(i, a) for i, a in arguments if a.dtype == "activation"]
        self._threads = next((i for i, a in arguments if a.name == "threads"), None)
        self._known: dict[tuple[Any, ...], list[int]] = {}  # forms: arrays without own memory

    def check(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Raise for wrong arguments; returns the arguments for the function."""
        for i, argument in self._activations:
            if args[i] not in ACTIVATIONS:
                raise ValueError(f"{argument.name} must be one of {ACTIVATIONS}, not {args[i]!r}")
        if self._threads is not None and args[self._threads] < 1:
            raise ValueError(f"threads must be at least 1, not {args[self._threads]!r}")
        if self._views_of is not None:
            views = self._views_of([(a.name, args[i]) for i, a, _ in self._arrays])
            replaced = list(args)
            for (i, _, _), view in zip(self._arrays, views, strict=True):
                replaced[i] = view
            args = tuple(replaced)
            keep_apart(views, self._specified)
        # Programs call with a few forms again and again. Looking one up takes 0.2 us an array,
        # checking it 2 us, which would be a fifth of a small LSTM.
        given = self._given_of(args)
        try:
            form = tuple([(type(a), a.dtype, a.shape, a.flags.num) for a in given])
        except AttributeError:
            form = ()
        borrowing = self._known.get(form)
        if borrowing is None:
            borrowing = self._check_form(form, args, given)
        if self._views_of is None and not _own_memory(given, borrowing):
            keep_apart(given, self._specified)
        return args

    def _check_form(
        self, form: tuple[Any, ...], args: tuple[Any, ...], given: tuple[Any, ...]
    ) -> list[int]:
        """Check what a form shows, remember it, and return which arrays borrow their memory."""
        _check_arrays(self._arrays, args, host=self._views_of is None)
        if len(self._known) >= _MOST_FORMS:
            self._known.clear()
        borrowing = [n for n, array in enumerate(given) if not array.flags.num & _OWNS_DATA]
        self._known[form] = borrowing
        return borrowing


def _own_memory(given: tuple[Any, ...], views: list[int]) -> bool:
    """Whether it is obvious that no two NumPy arrays share memory.

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
        else:  # only addresses tell whose memory it is
            foreign.append(n)
    return len(set(map(id, owners))) == len(owners) and not any(
        n != m and np.may_share_memory(given[n], other)
        for n in foreign
        for m, other in enumerate(given)
    )


def keep_apart(given: Sequence[Any], arguments: list[Argument]) -> None:
    """Check that no output shares memory with another array.

    Args:
        given: arrays of NumPy or of one device; those that are not contiguous pass, because they
            are rejected elsewhere.
        arguments: what each of them is.

    Raises:
        ValueError: an output does.
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
        if output:  # it ends last, because it overlaps nothing before it
            end_of_outputs, of_outputs = stop, name


def _address(array: Any) -> int:
    if isinstance(array, np.ndarray):
        return int(array.__array_interface__["data"][0])
    return int(array.address)


def _check_arrays(
    arrays: tuple[tuple[int, Argument, tuple[str, ...]], ...], args: tuple[Any, ...], host: bool
) -> None:
    """Check dtypes, shapes and flags of the arrays among `args`.

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


def _check_array(
    argument: Argument,
    shape: tuple[str, ...],
    value: Any,
    sizes: dict[str, int],
    seen: dict[str, str],
    shared: dict[str, np.dtype[Any]],
) -> None:
    """Check one array; `sizes` are those of the arrays before it, `seen` says of which one."""
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
    """Check, once all sizes are known, that an optional one is 0 or complete."""
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
