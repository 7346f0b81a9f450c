"""NVTX ranges for Nsight, one for each call of a table kernel, with FASTMASK_NVTX=1."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

WANTED = os.environ.get("FASTMASK_NVTX", "0") not in ("", "0")


def in_range(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, which then runs in a range of that name; unchanged if ranges are off.

    Raises:
        ImportError: ranges are on, and nvtx is not installed.
    """
    if not WANTED:
        return function
    try:
        annotate = import_module("nvtx").annotate
    except ImportError as error:
        raise ImportError("FASTMASK_NVTX=1 needs nvtx: pip install nvtx") from error
    ranged: Callable[..., Any] = annotate(name, domain="fastmask")(function)
    return ranged
