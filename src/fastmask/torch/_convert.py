"""Convert torch.nn's recurrent modules in a model to fastmask's."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from ._derived import derived, why_not
from ._modules import GRU, LSTM, RNN
from ._over_steps import OverSteps
from ._recurrent import Recurrent

Model = TypeVar("Model", bound=nn.Module)

_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_NAMES = {cls.__name__ for cls in (nn.LSTM, nn.GRU, nn.RNN)}
_SCRIPTED = (
    "it is a program of torch.jit, which cannot change: convert the module that it was made from, "
    "and use torch.compile or torch.export in place of torch.jit"
)
_OURS: dict[type[nn.Module], type[Recurrent]] = {nn.LSTM: LSTM, nn.GRU: GRU, nn.RNN: RNN}


def convert(model: Model) -> Model:
    """Let every torch.nn.LSTM, GRU and RNN of a model compute with fastmask, in place.

    A module keeps its identity and only changes its class. So parameters stay the same objects, an
    optimizer keeps training them, and hooks, options and references to the module stay valid. A
    module of a class that the program derived from torch.nn's stays an instance of that class,
    whose methods work as before: fastmask computes their calls of `super().forward`. If they do not
    call it, or override what it uses, the module is left unchanged, and a warning says why; it also
    names cells (torch.nn.LSTMCell and so on), which compute one step, and modules with `proj_size`,
    which torch's own operator computes. A model without recurrent modules brings a warning, too.

    Args:
        model: any module, a single torch.nn.LSTM included.

    Returns:
        `model` itself.

    Raises:
        TypeError: `model` is not a module.

    Examples:
        >>> import torch
        >>> from fastmask.torch import convert
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GRU(4, 5))
        >>> convert(model)[1]
        GRU(4, 5)
        >>> type(model[1])
        <class 'fastmask.torch._modules.GRU'>
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    found = {n: m for n, m in model.named_modules() if _is_recurrent(m)}
    if not found:
        kind = type(model).__name__
        warnings.warn(f"{kind} has no torch.nn.LSTM, GRU or RNN: nothing to convert", stacklevel=2)
    for name, module in found.items():
        if isinstance(module, OverSteps):
            continue
        reason = _convert(module)
        if reason:
            warnings.warn(f"module {name!r} stays as it is: {reason}", stacklevel=2)
        elif reason := module._unknown():
            warnings.warn(f"torch's own operator computes module {name!r}: {reason}", stacklevel=2)
    return model


def _is_recurrent(module: nn.Module) -> bool:
    scripted = isinstance(module, torch.jit.ScriptModule)
    name = getattr(module, "original_name", "") if scripted else ""
    return isinstance(module, (*_RECURRENT, OverSteps)) or name in _NAMES


def _convert(module: nn.Module) -> str:
    """Change the class of a module, or say why not."""
    if isinstance(module, torch.jit.ScriptModule):
        return _SCRIPTED
    if not isinstance(module, tuple(_OURS)):
        step = isinstance(module, nn.RNNCellBase)
        why = "computes one step a call" if step else "is no LSTM, GRU or RNN of torch.nn"
        return f"{type(module).__name__} {why}"
    cls: Any = type(module)
    # For parametrizations torch makes a class for this one module, with them as properties.
    parametrized = is_parametrized(module) and cls.__name__.startswith("Parametrized")
    base = cls.__bases__[0] if parametrized else cls
    ours: Any = _OURS.get(base)
    if ours is None:
        reason = why_not(module, base)
        if reason:
            return reason
        ours = derived(base)
    if parametrized:
        own = {n: v for n, v in vars(cls).items() if n not in ("__dict__", "__weakref__")}
        ours = type(cls.__name__, (ours,), own)
    try:
        object.__setattr__(module, "__class__", ours)
    except TypeError as error:  # __slots__
        return str(error)
    return ""
