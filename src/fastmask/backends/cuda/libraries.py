"""The libraries that arrays on a GPU belong to, and what fastmask needs of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from ..._typing import OnDevice

Multiply = Callable[[OnDevice, OnDevice, OnDevice, bool, bool, bool], None]
"""`multiply(out, a, b, transpose_a, transpose_b, accumulate)`: out = a b, or out += a b, of
C-contiguous matrices on one device, on the current stream."""


class Library(Protocol):
    """A library of arrays on GPUs.

    Attributes:
        name: as messages call it.
        multiply: its matrix product, or None if it has none.
    """

    @property
    def name(self) -> str:
        """As messages call it."""

    @property
    def multiply(self) -> Multiply | None:
        """Its matrix product, or None if it has none."""

    def stream(self, device: int) -> int:
        """Handle of the stream on which the library computes now, 0 for the default one."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: OnDevice) -> Any:
        """Uninitialized array on the device of `like`, in C order."""


_NUMBA = "numba", "NumbaLibrary"
_KNOWN = {
    "torch": ("torch", "TorchLibrary"),
    "cupy": ("cupy", "CuPyLibrary"),
    "numba": _NUMBA,
    "fastmask_kernels": _NUMBA,  # whose memory is numba's
    "fastmask.backends.cuda.torch_numpy": ("torch_numpy", "TorchArrayLibrary"),
    "fastmask.backends.cuda.simulated": ("simulated", "SimulatedLibrary"),
}
_registered: dict[str, Library] = {}


def library_of(array: object) -> Library:
    """The library that `array`, an array on a GPU, belongs to.

    Raises:
        TypeError: fastmask does not know its library.
    """
    for kind in type(array).__mro__:
        known = _library(kind.__module__)
        if known is not None:
            return known
    kind = type(array)
    raise TypeError(
        f"arrays on a GPU must be of torch, CuPy or numba, not {kind.__module__}.{kind.__name__}"
    )


def register(module: str, library: Library) -> None:
    """Register the library of arrays whose types are defined in the package `module`."""
    _registered[module] = library
    _library.cache_clear()


@cache
def _library(module: str) -> Library | None:
    for known in (module, module.partition(".")[0]):
        if known in _registered:
            return _registered[known]
        if known in _KNOWN:
            file, name = _KNOWN[known]
            found: Library = getattr(import_module(f"{__package__}.{file}"), name)()
            return found
    return None
