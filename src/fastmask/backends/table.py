"""Which table of kernels computes on NumPy arrays: the compiled one, or the reference."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from fastmask_kernels import JitDisabledError
from fastmask_kernels.forks import IMPORTING, fork_safe, fork_safe_lock

from .changes import changed

_TABLES = ("cpu", "reference")
_VARIABLE = "FASTMASK_KERNELS"
_table: Any = None
_importing = fork_safe_lock(IMPORTING)  # a child could not import what its parent has begun to


def kernels() -> Any:
    """The kernels for NumPy arrays, imported when first needed."""
    return _table or _chosen_table()


def _chosen_table() -> Any:
    name = os.environ.get(_VARIABLE)
    if name is not None:
        return use_kernels(name)
    try:
        return use_kernels("cpu")
    except JitDisabledError:  # people set that to measure coverage, or to debug
        return use_kernels("reference")


def use_kernels(name: str) -> Any:
    """Compute with the kernels `name` from now on; tests compare tables with it.

    Raises:
        ValueError: there are none of that name.
    """
    global _table
    if name not in _TABLES:
        raise ValueError(f"{_VARIABLE} must be one of {', '.join(_TABLES)}, not {name!r}")
    with fork_safe(_importing):
        _table = import_module(f"fastmask_kernels.{name}")
    changed()
    return _table
