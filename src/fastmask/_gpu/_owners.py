"""Who an array on a GPU belongs to, told by the module of its type."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from ._owner import Owner

_NUMBA = "_numba", "NumbaOwner"
_KNOWN = {
    "torch": ("_torch", "TorchOwner"),
    "cupy": ("_cupy", "CuPyOwner"),
    "numba": _NUMBA,
    "fastmask_kernels": _NUMBA,  # whose memory is numba's
    "fastmask": ("_torch_numpy", "TorchArrayOwner"),
}
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
    if package not in _KNOWN:
        return None
    module, name = _KNOWN[package]
    found: Owner = getattr(import_module(f"{__package__}.{module}"), name)()
    return found
