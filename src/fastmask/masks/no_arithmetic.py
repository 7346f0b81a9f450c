"""Keeps NumPy's functions and operators from batches whose masks or rows they would lose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

_BINARY = "add sub mul truediv floordiv mod divmod pow matmul lshift rshift and or xor".split()
_OPERATORS = (
    *(f"__{prefix}{name}__" for name in _BINARY for prefix in ("", "r", "i")),
    *(f"__{name}__" for name in "neg pos abs invert lt le eq ne gt ge".split()),
    *(f"__{name}__" for name in "bool int float complex index contains".split()),
    *(f"__{name}__" for name in "setitem delitem".split()),
    *(f"__{name}__" for name in "array array_ufunc array_function".split()),
)


def refuse_arithmetic(cls: type, message: str, also: Iterable[str] = ()) -> None:
    """Let operators and NumPy's functions on a class, and methods `also`, raise a TypeError."""

    def refuse(_self: Any, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError(message)

    for name in (*_OPERATORS, *also):
        if name != "__idivmod__":
            setattr(cls, name, refuse)
