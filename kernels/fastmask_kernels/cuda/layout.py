"""Where everything stands in the packed weights of a layer (see `packing`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import forward, grid
from ._device import SIMULATED, DeviceArray
from .cells import Kind
from .cells import cell as cell_of
from .resident import Spread, spread_over

_ALIGNED = 16  # numbers: tiles are read 16 bytes at a time


class Layout(NamedTuple):
    """Where the parts of the packed weights begin."""

    spread: Spread
    bias: int
    recurrent: int
    size: int

    def require(self, packed: DeviceArray) -> None:
        """Raises ValueError if `packed` has another size."""
        if packed.size != self.size:
            raise ValueError(
                f"packed must have {self.size} elements for these weights, not {packed.size}"
            )
        if packed.address % 16 and not SIMULATED:
            raise ValueError("packed must begin at a multiple of 16 bytes")


def layout(kind: Kind, features: int, units: int, dtype: Any) -> Layout:
    """Of the packed weights of a layer."""
    dtype = np.dtype(dtype)
    cell = cell_of(kind, dtype)
    spread = spread_over(
        *(cell.rounds, 4, (units,) * len(cell.rounds), units, dtype.itemsize),
        *(forward.vector_size, grid.vector_size),
    )
    bias = features * cell.inputs * units
    recurrent = -(-(bias + cell.saved * units) // _ALIGNED) * _ALIGNED
    return Layout(spread, bias, recurrent, recurrent + spread.size)
