"""What fastmask asks of the library that an array on a GPU belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Multiply = Callable[[Any, Any, Any, bool, bool, bool], None]
"""`multiply(out, a, b, transpose_a, transpose_b, accumulate)`: out = a b, or out += a b, of
C-contiguous matrices on one device, on the current stream."""


class Owner(Protocol):
    """A library of arrays on GPUs.

    Attributes:
        name: as messages call it.
        multiply: its matrix product, or None where it has none.
    """

    @property
    def name(self) -> str:
        """As messages call it."""

    @property
    def multiply(self) -> Multiply | None:
        """Its matrix product, or None where it has none."""

    def stream(self, device: int) -> int:
        """Handle of the stream on which the library computes now, 0 for the default one."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """Uninitialised array on the device of `like`, in C order."""
