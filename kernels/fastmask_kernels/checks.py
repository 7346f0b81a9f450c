"""Argument checks of every kernel, from its specification.

Wrong arguments raise here; the kernels themselves access memory without any check.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Protocol, cast

import numpy as np

from .shapes import check_arrays, parse
from .spec import ACTIVATIONS, KERNELS, OPTIONAL, SIZES, Argument, Kernel

_OWNS_DATA = 4  # a bit of an array's `flags.num`
_MOST_FORMS = 1024  # remembered for each kernel


ViewsOf = Callable[[list[tuple[str, Any]]], list[Any]]
"""From the names and values of a call's arrays to what its backend computes on."""
PlanOf = Callable[[Any, Any, Any, int], tuple[Any, Any, Any]]
"""From offsets, steps, order and T to the plan that a kernel gets."""


class TableFunction(Protocol):
    """A kernel of the table."""

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Check the arguments, and run."""

    @property
    def unchecked(self) -> Callable[..., None]:
        """The same without checks, for callers that made the arrays; positional only."""


def checked(
    function: Callable[..., None],
    views_of: ViewsOf | None = None,
    kernel: Kernel | None = None,
    plan_of: PlanOf | None = None,
) -> TableFunction:
    """Make a kernel of the table, by default the one of the function's name.

    Args:
        function: what computes it. It takes the kernel's arguments, or a single one, `call`: a
            named tuple of them all.
        kernel: the specification, for a cell that is not in the table.
        views_of: turns the arrays of a call into objects with NumPy's `shape`, `ndim`, `dtype`
            and `flags`, which the function gets; without it they must be NumPy arrays.
        plan_of: called by kernels that read a plan, which get what it returns; a function that
            checks its plan itself needs none.

    Returns:
        A function that raises
            TypeError: an argument is missing, is not an array, has another dtype, is not a bool
                where the table has a flag, or `threads` is not an int.
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
    check = _Checks(spec, views_of, plan_of).check

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
    more, notes = f"{_sizes_of(spec)} See `help(fastmask_kernels.spec)`", inspect.cleandoc(notes)
    if "See `spec`" not in notes:
        notes = f"See `spec`. {notes}".strip()
    return "\n".join([*lines, "", notes.replace("See `spec`", more)])


def _sizes_of(spec: Kernel) -> str:
    """What the letters of a kernel's shapes stand for."""
    words = [word for argument in spec.arguments for word in argument.shape or ()]
    letters = {parse(word)[1] for word in words}
    whole = [f"{letter} {meaning}" for letter, meaning in SIZES.items() if letter in letters]
    parts = [f"{letter} is {of} or 0" for letter, of in OPTIONAL.items() if letter in letters]
    return f"Sizes: {', '.join(whole + parts)}."


class _Checks:
    """The checks of one kernel's arguments."""

    def __init__(self, spec: Kernel, views_of: ViewsOf | None, plan_of: PlanOf | None) -> None:
        arguments = list(enumerate(spec.arguments))
        self._views_of, self._plan_of = views_of, plan_of
        self._arrays = tuple((i, a, a.shape) for i, a in arguments if a.shape is not None)
        self._specified = [argument for _, argument, _ in self._arrays]
        self._given_of = itemgetter(*(i for i, _, _ in self._arrays))  # all have two or more
        self._activations = [(i, a) for i, a in arguments if a.dtype == "activation"]
        self._flags = tuple(i for i, a in arguments if a.dtype == "flag")
        self._names = spec.call._fields
        order = next((i for i, a in arguments if a.name == "order" and not a.output), None)
        self._order = order if plan_of else None
        self._threads = next((i for i, a in arguments if a.name == "threads"), None)
        self._known: dict[tuple[Any, ...], list[int]] = {}  # forms: arrays without own memory

    def check(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Raise for wrong arguments; returns the arguments for the function."""
        for i, argument in self._activations:
            if args[i] not in ACTIVATIONS:
                raise ValueError(f"{argument.name} must be one of {ACTIVATIONS}, not {args[i]!r}")
        for i in self._flags:
            flag = args[i]
            if flag is not True and flag is not False and type(flag) is not np.bool_:
                raise TypeError(f"{self._names[i]} must be True or False, not {flag!r}")
        if self._threads is not None:
            threads = args[self._threads]
            if type(threads) is not int or threads < 1:
                _check_threads(threads)
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
        return args if self._order is None else self._with_plan(args, self._order)

    def _with_plan(self, args: tuple[Any, ...], order: int) -> tuple[Any, ...]:
        """The arguments with what `plan_of` returns; offsets, steps and order follow x."""
        assert self._plan_of is not None
        *before, x, offsets, steps, rows = args[: order + 1]
        return (*before, x, *self._plan_of(offsets, steps, rows, x.shape[1]), *args[order + 1 :])

    def _check_form(
        self, form: tuple[Any, ...], args: tuple[Any, ...], given: tuple[Any, ...]
    ) -> list[int]:
        """Check what a form shows, remember it, and return which arrays borrow their memory."""
        check_arrays(self._arrays, args, host=self._views_of is None)
        if len(self._known) >= _MOST_FORMS:
            self._known.clear()
        borrowing = [n for n, array in enumerate(given) if not array.flags.num & _OWNS_DATA]
        self._known[form] = borrowing
        return borrowing


def _check_threads(threads: Any) -> None:
    """Raise unless it is a positive integer of any type."""
    if type(threads) is not int and not isinstance(threads, np.integer):
        raise TypeError(f"threads must be an int, not {threads!r}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads!r}")


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
