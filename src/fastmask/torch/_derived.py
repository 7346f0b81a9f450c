"""Converted classes that programs derive from torch.nn.LSTM, GRU and RNN.

Such a class does its own work and leaves the rest to `super().forward`. In a class derived from it
and from ours, ours comes before torch.nn's in the method resolution order, so that this call finds
our forward; everything else stays as the program defined it.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

from torch import nn

from ._over_steps import OverSteps
from ._recurrent import Recurrent


class _LSTM(Recurrent, nn.LSTM):
    _original = nn.LSTM
    __init__ = nn.LSTM.__init__


class _GRU(Recurrent, nn.GRU):
    _original = nn.GRU
    __init__ = nn.GRU.__init__


class _RNN(Recurrent, nn.RNN):
    _original = nn.RNN
    __init__ = nn.RNN.__init__


_BASES = (_LSTM, _GRU, _RNN)
# What torch.nn's forward uses, and ours does not.
_HOOKS = {
    *("all_weights", "_flat_weights", "_update_flat_weights", "_weights_have_changed"),
    *("check_input", "check_forward_args", "check_hidden_size", "permute_hidden"),
    *("get_expected_hidden_size", "get_expected_cell_size"),
}
_OWN = {*vars(Recurrent), *vars(OverSteps)} - set(dir(nn.RNNBase)) - {"forward"}


def why_not(module: Any, base: Any) -> str:
    """Why a module of the program's class `base` cannot be converted; empty if it can."""
    names = set(vars(module)) - {"_flat_weights"}
    for cls in _classes_above(base):
        names |= set(vars(cls))
        if "forward" in vars(cls) and not any(map(_calls_super, _functions_of(cls))):
            return f"{cls.__name__}.forward does not call super().forward"
    if replaced := sorted(names & _HOOKS):
        return f"{base.__name__} has its own {', '.join(replaced)}"
    if taken := sorted(names & _OWN):
        return f"{base.__name__} has {', '.join(taken)}, which mean something here"
    try:
        derived(base)
    except Exception as error:  # a metaclass, or `__init_subclass__`, of the program
        return f"no class can be derived from {base.__name__}: {error}"
    return ""


@functools.cache
def derived(cls: Any) -> Any:
    """A class derived from `cls` that computes with fastmask.

    Raises:
        TypeError: Python cannot make it.
    """
    base = next(base for base in _BASES if issubclass(cls, base._original))

    def fill(namespace: dict[str, Any]) -> None:
        namespace.update(
            __module__=cls.__module__,
            __qualname__=cls.__qualname__,
            __doc__=cls.__doc__,
            __reduce_ex__=_reduced,
            _program_class=cls,
        )

    return types.new_class(cls.__name__, (cls, base), exec_body=fill)


def _reduced(module: Any, protocol: Any) -> Any:
    """For copy and pickle, which find the program's class under our class's name."""
    cls = module._program_class
    ours = derived(cls)
    made, arguments, *rest = super(ours, module).__reduce_ex__(protocol)
    if type(module) is not ours or made is not copyreg.__newobj__:  # type: ignore[attr-defined]  # typeshed lacks it
        return (made, arguments, *rest)
    return (_new, (cls,), *rest)


def _new(cls: Any) -> Any:
    cls = derived(cls)
    return cls.__new__(cls)


def _classes_above(base: Any) -> Iterator[Any]:
    """The classes in the order of resolution, down to torch.nn's."""
    for cls in base.__mro__:
        if cls in (nn.LSTM, nn.GRU, nn.RNN):
            return
        yield cls


def _functions_of(cls: Any) -> Iterator[Any]:
    for value in vars(cls).values():
        function = inspect.unwrap(value) if callable(value) else value
        if isinstance(function, types.FunctionType):
            yield function.__code__


def _calls_super(code: types.CodeType) -> bool:
    if {"super", "forward"} <= set(code.co_names):
        return True
    return any(_calls_super(one) for one in code.co_consts if isinstance(one, types.CodeType))
