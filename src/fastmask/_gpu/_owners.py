"""Who an array on a GPU belongs to, told by the module of its type."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from ._owner import Owner

_MODULES = {"torch": "_torch", "cupy": "_cupy", "numba": "_numba", "fastmask_kernels": "_numba"}
_registered: dict[str, Owner] = {}


def owner_of(array: Any) -> Owner:
    """The library that `array`, an array on a GPU, belongs to.

    Raises:
        TypeError: it is none that fastmask knows.
    """
    for kind in type(array).__mro__:
        known = _owner(kind.__module__.partition(".")[0])
        if known is not None:
            return known
    kind = type(array)
    raise TypeError(
        f"arrays on a GPU must be of torch, CuPy or numba, not {kind.__module__}.{kind.__name__}"
    )


def register(module: str, owner: Owner) -> None:
    """Know the arrays whose types are of the top-level package `module`."""
    _registered[module] = owner
    _owner.cache_clear()


@cache
def _owner(package: str) -> Owner | None:
    if package in _registered:
        return _registered[package]
    if package not in _MODULES:
        return None
    found: Owner = import_module(f"{__package__}.{_MODULES[package]}").OWNER
    return found
