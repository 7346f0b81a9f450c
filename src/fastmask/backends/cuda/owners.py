"""Who an array on a GPU belongs to, told by the module of its type, or by its package."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from .owner import Owner

_NUMBA = "numba", "NumbaOwner"
_KNOWN = {
    "torch": ("torch", "TorchOwner"),
    "cupy": ("cupy", "CuPyOwner"),
    "numba": _NUMBA,
    "fastmask_kernels": _NUMBA,  # whose memory is numba's
    "fastmask.backends.cuda.torch_numpy": ("torch_numpy", "TorchArrayOwner"),
    "fastmask.backends.cuda.simulated": ("simulated", "SimulatedOwner"),
}
_registered: dict[str, Owner] = {}


def owner_of(array: Any) -> Owner:
    """The library that `array`, an array on a GPU, belongs to.

    Raises:
        TypeError: it is none that fastmask knows.
    """
    for kind in type(array).__mro__:
        known = _owner(kind.__module__)
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
def _owner(module: str) -> Owner | None:
    for known in (module, module.partition(".")[0]):
        if known in _registered:
            return _registered[known]
        if known in _KNOWN:
            file, name = _KNOWN[known]
            found: Owner = getattr(import_module(f"{__package__}.{file}"), name)()
            return found
    return None
