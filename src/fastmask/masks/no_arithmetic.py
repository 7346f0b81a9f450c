"""Keeps NumPy's functions and operators from batches whose masks or rows they would lose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NoReturn

import numpy as np


class NoArithmetic:
    """Base of the batches: operators, and NumPy's functions, raise a TypeError.

    Functions that read only the shape lose nothing, and work.
    """

    # The refused methods are here, not in the batches' own classes, where help() would list them
    # before the useful ones.

    __slots__ = ()
    _refusal: ClassVar[str]
    shape: Any

    def __array_function__(
        self, function: Any, _types: object, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        of_shape = {np.shape: self.shape, np.ndim: len(self.shape)}
        if function in of_shape:
            return of_shape[function]
        if function is np.size and None not in self.shape:
            axis = {name: value for name, value in kwargs.items() if name != "a"}
            return np.size(np.broadcast_to(np.False_, self.shape), *args[1:], **axis)
        raise TypeError(self._refusal)


def refuse(cls: type, names: Iterable[str], message: Callable[[Any], str]) -> None:
    """Give a class methods of these names that raise a TypeError.

    Args:
        cls: the class.
        names: names of the methods, without underscores.
        message: makes the message from the object.
    """
    for name in names:
        setattr(cls, f"__{name}__", _refusing(f"__{name}__", message))


def _refusing(name: str, message: Callable[[Any], str]) -> Callable[..., NoReturn]:
    def method(self: Any, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError(message(self))

    method.__name__ = method.__qualname__ = name  # which help() shows
    return method


_BINARY = "add sub mul truediv floordiv mod pow matmul lshift rshift and or xor".split()
OPERATORS = (
    *(f"{prefix}{name}" for name in _BINARY for prefix in ("", "r", "i")),
    *"divmod rdivmod neg pos abs invert lt le gt ge bool int float complex index".split(),
    *"contains getitem setitem delitem iter array array_ufunc".split(),
)
refuse(NoArithmetic, (*OPERATORS, "eq", "ne"), lambda batch: str(batch._refusal))
