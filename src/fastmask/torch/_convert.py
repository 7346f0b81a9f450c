"""From a model of torch.nn's recurrent modules to the same model on fastmask's."""

from __future__ import annotations

import warnings
from typing import TypeVar

from torch import nn

from ._modules import GRU, LSTM, RNN, Recurrent

Model = TypeVar("Model", bound=nn.Module)

_OURS: dict[type[nn.Module], type[Recurrent]] = {nn.LSTM: LSTM, nn.GRU: GRU, nn.RNN: RNN}


def convert(model: Model) -> Model:
    """Let every torch.nn.LSTM, GRU and RNN of a model compute with fastmask, in place.

    A module keeps its identity and only changes its class. So parameters stay the same objects,
    an optimizer goes on training them, and hooks, options and whoever holds the module stay as
    they are. Modules of classes derived from torch.nn's are left alone, with a warning, since
    what they override may depend on it.

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
    for name, module in model.named_modules():
        ours = _OURS.get(type(module))
        if ours is not None:
            object.__setattr__(module, "__class__", ours)
        elif isinstance(module, tuple(_OURS)):
            warnings.warn(
                f"module {name!r} stays as it is: {type(module).__name__} is derived from a "
                "class of torch.nn",
                stacklevel=2,
            )
    return model
