"""Checks of plain arguments: each returns the value, or raises saying what came instead."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_LONGEST = 100  # characters of a value in a message


def shown(value: Any) -> str:
    """A value, for a message: not all the numbers of an array, nor all of a long list or text."""
    shape = getattr(value, "shape", ())
    if isinstance(shape, tuple) and shape:  # a class has a descriptor there
        return f"an array of shape {tuple(shape)}"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def whole_number(value: Any, name: str, least: int) -> int:
    """`value` as an int of at least `least`.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is too small.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {shown(value)}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, not {shown(value)} of type {type(value).__name__}"
        ) from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number


def flag(value: Any, name: str) -> bool:
    """`value` as a bool; 0 and 1 are accepted, too.

    Raises:
        TypeError: it is something else.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number not in (0, 1):
        raise TypeError(f"{name} must be True or False, not {shown(value)}")
    return bool(number)


def real_number(value: Any, name: str) -> float:
    """`value` as a float.

    Raises:
        TypeError: it is not a real number.
    """
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a number, not {shown(value)}")
    try:
        return float(value)
    except (TypeError, OverflowError):
        raise TypeError(f"{name} must be a number, not {shown(value)}") from None


def rate(value: Any, name: str) -> float:
    """`value` as a float from 0 to 1.

    Raises:
        TypeError: it is not a real number.
        ValueError: it is out of range.
    """
    number = real_number(value, name)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} must be between 0 and 1, not {shown(value)}")
    return number


def listed(choices: Iterable[str]) -> str:
    """Quoted names, separated by commas, for a message."""
    return ", ".join(map(repr, choices))


def alternatives(choices: Iterable[str]) -> str:
    """Names, the last one after "or", for a message."""
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last


def closest(value: Any, choices: Iterable[str]) -> str:
    """A suggestion of the most similar choice, for the end of a message; "" if there is none."""
    if not isinstance(value, str):
        return ""
    from difflib import get_close_matches  # takes a millisecond, so only for an error

    lower = {choice.lower(): choice for choice in choices}
    found = [lower[one] for one in get_close_matches(value.lower(), lower, n=1)]
    return f" (did you mean {found[0]!r}?)" if found else ""


def foreign_layer_hint(value: Any) -> str:
    """For the end of a message about a class or layer of Keras's own; "" for anything else."""
    bases = (value if isinstance(value, type) else type(value)).__mro__
    if not any(base.__module__.partition(".")[0] in ("keras", "tf_keras") for base in bases):
        return ""
    return (
        " (a class of Keras: write the layer again as a subclass of fastmask.layers.Layer, in "
        "NumPy; the page 'From Keras' of the documentation has an example)"
    )


def refuse_unknown(
    given: Iterable[str], function: Callable[..., Any], instead: Mapping[str, str]
) -> None:
    """Refuse arguments that a function does not have, as Python does, and with a hint.

    Args:
        given: their names.
        function: the function, which collects them as `unknown`.
        instead: what to do instead, by a part of their names.

    Raises:
        TypeError: there is one.
    """
    for name in given:
        known = set(inspect.signature(function).parameters) - {"self", "unknown"}
        raise TypeError(unexpected(f"{function.__qualname__}()", name, known, instead))


def unexpected(call: str, name: str, known: Iterable[str], instead: Mapping[str, str]) -> str:
    """The message about an argument that a call does not have; see `refuse_unknown`."""
    hints = [f": {hint}" for part, hint in instead.items() if part in name]
    hint = hints[0] if hints else closest(name, known)
    return f"{call} got an unexpected keyword argument {name!r}{hint}"


def choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """`value`, which must be one of `choices`.

    Raises:
        ValueError: it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        meant = closest(value, choices)
        raise ValueError(f"{name} must be one of {listed(choices)}, not {shown(value)}{meant}")
    return value
