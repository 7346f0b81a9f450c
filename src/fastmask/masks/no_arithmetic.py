"""Keeps NumPy's functions and operators from batches whose masks or rows they would lose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

_BINARY = "add sub mul truediv floordiv mod divmod pow matmul lshift rshift and or xor".split()
_OPERATORS = (
    *(f"__{prefix}{name}__" for name in _BINARY for prefix in ("", "r", "i")),
    *(f"__{name}__" for name in "neg pos abs invert lt le eq ne gt ge".split()),
    *(f"__{name}__" for name in "bool int float complex index contains".split()),
    *(f"__{name}__" for name in "setitem delitem".split()),
    *(f"__{name}__" for name in "array array_ufunc".split()),
)


def refuse_arithmetic(cls: type, message: str, also: Iterable[str] = ()) -> None:
    """Let operators and NumPy's functions on a class, and methods `also`, raise a TypeError.

    Functions that read only the shape lose nothing, and work.
    """

    def refuse(_self: Any, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError(message)

    def array_function(
        self: Any, function: Any, _types: object, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        of_shape = {np.shape: self.shape, np.ndim: len(self.shape)}
        if function in of_shape:
            return of_shape[function]
        if function is np.size and None not in self.shape:
            axis = {name: value for name, value in kwargs.items() if name != "a"}
            return np.size(np.broadcast_to(np.False_, self.shape), *args[1:], **axis)
        return refuse(self)

    for name in (*_OPERATORS, *also):
        if name != "__idivmod__":
            setattr(cls, name, refuse)
    cls.__array_function__ = array_function  # type: ignore[attr-defined]  # of both classes
