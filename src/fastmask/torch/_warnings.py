"""The warning of a module that torch's operators compute."""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from .._frames import frames_of_fastmask

_TORCH = os.path.dirname(torch.__file__) + os.sep

_told: Any = WeakIdKeyDictionary()  # the reasons that each module has given


def warn_once(module: Any, what: str, reason: str) -> None:
    """Warn at the line of the program, outside torch, that called a module.

    Each module warns once for each reason; not while torch compiles.

    Args:
        module: the module.
        what: what it does instead of running the kernels.
        reason: why.
    """
    if torch.compiler.is_compiling():
        return
    told = _told.setdefault(module, set())
    if reason not in told:
        told.add(reason)
        warnings.warn(f"{what}: {reason}", stacklevel=frames_of_fastmask(_TORCH))
