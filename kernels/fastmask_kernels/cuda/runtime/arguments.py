"""Arguments of a launch: their types, and what the driver or the simulator gets for each.

A tuple reaches a kernel on a GPU as its items.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from numbers import Integral, Number
from operator import attrgetter
from typing import Any

import numpy as np
from numba.cuda import types
from numba.cuda.np.numpy_support import as_dtype
from numpy.ctypeslib import as_ctypes_type

from .device import DeviceArray, host_view


def type_of(argtype: Any) -> Any:
    """The Numba type of an argument; a tuple of types, named or not, becomes a tuple type."""
    if not isinstance(argtype, tuple):
        return argtype
    items = tuple(map(type_of, argtype))
    named = hasattr(argtype, "_fields")
    return types.NamedTuple(items, type(argtype)) if named else types.Tuple(items)


def flat(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments, or their types, with tuples flattened."""
    items: list[Any] = []
    for a in args:
        items.extend(flat(a) if isinstance(a, (tuple, types.BaseTuple)) else (a,))
    return tuple(items)


def converter(argtype: Any) -> Callable[[Any], Any]:
    """Makes an argument what cuda.core takes: it passes an int as 64 bits, like an address."""
    if isinstance(argtype, types.CPointer):
        return attrgetter("address")
    return int if argtype == types.int64 else as_ctypes_type(as_dtype(argtype))


def simulated(argtype: Any, value: Any) -> Any:
    """What a kernel gets in the simulator."""
    if isinstance(value, DeviceArray):
        return host_view(value, as_dtype(argtype.dtype))
    if isinstance(value, tuple):
        return getattr(type(value), "_make", tuple)(map(simulated, argtype, value))
    return as_dtype(argtype).type(value)


def check(kernel: str, function: Any, argtypes: tuple[Any, ...], args: tuple[Any, ...]) -> None:
    """Raise TypeError for arguments of another number or kind than a kernel's.

    Args:
        kernel: its name in messages.
        function: what it was made from.
        argtypes: the types of its arguments.
        args: those of a launch.
    """
    names = tuple(inspect.signature(function).parameters)
    if len(args) != len(argtypes):
        raise TypeError(
            f"{kernel} takes {len(argtypes)} arguments ({', '.join(names)}), not {len(args)}"
        )
    for n, (name, argtype, value) in enumerate(zip(names, argtypes, args, strict=True), 1):
        _check_one(f"argument {n} ({name}) of {kernel}", argtype, value)


def _check_one(what: str, argtype: Any, value: Any) -> None:
    came = type(value).__name__
    if isinstance(argtype, types.BaseTuple):
        if not isinstance(value, tuple) or len(value) != len(argtype):
            size = f" of {len(value)}" if isinstance(value, tuple) else ""
            raise TypeError(f"{what} must be a tuple of {len(argtype)}, not {came}{size}")
        for n, (item, one) in enumerate(zip(argtype, value, strict=True)):
            _check_one(f"item {n} of {what}", item, one)
    elif isinstance(argtype, types.CPointer):
        if not isinstance(value, DeviceArray):
            raise TypeError(
                f"{what} must be a DeviceArray, not {came}: `checked` makes them from a call's "
                "arrays, see docs/cuda.md, Writing another kernel"
            )
        item = as_dtype(argtype.dtype)
        if item.kind != "u" and value.dtype != item:  # as unsigned integers any memory is read
            raise TypeError(f"{what} must have dtype {item}, not {value.dtype}")
    else:
        whole = isinstance(argtype, types.Integer)
        if not isinstance(value, (Integral if whole else Number, np.bool_)):
            raise TypeError(f"{what} must be {'an int' if whole else 'a number'}, not {came}")
