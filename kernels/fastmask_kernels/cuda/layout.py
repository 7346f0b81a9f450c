"""Where everything stands in the packed weights of a layer (see `packing`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._device import DeviceArray
from .cells import Kind
from .cells import cell as cell_of
from .forward import vector_size
from .resident import Tile, settle, tile

_ALIGNED = 16  # numbers: tiles are read 16 bytes at a time


class Layout(NamedTuple):
    """Where the parts of the packed weights begin."""

    tiles: tuple[Tile, ...]
    bias: int
    recurrent: int
    size: int

    def require(self, packed: DeviceArray) -> None:
        """Raises ValueError if `packed` has another size."""
        if packed.size != self.size:
            raise ValueError(
                f"packed must have {self.size} elements for these weights, not {packed.size}"
            )


def tiles_of(rounds: tuple[int, ...], units: int, dtype: Any) -> tuple[Tile, ...]:
    """The recurrent kernel of a cell in one block.

    Raises:
        ValueError: it has too many units.
    """
    tiles = tuple(tile(columns, 4, units, units) for columns in rounds)
    if tiles[0].threads > 1024:
        raise ValueError(f"cuda kernels take at most 256 units so far, not {units}")
    return settle(tiles, np.dtype(dtype).itemsize, vector_size(tiles))


def layout(kind: Kind, features: int, units: int, dtype: Any) -> Layout:
    """Of the packed weights of a layer."""
    dtype = np.dtype(dtype)
    cell = cell_of(kind, dtype)
    tiles = tiles_of(cell.rounds, units, dtype)
    bias = features * cell.inputs * units
    recurrent = -(-(bias + cell.saved * units) // _ALIGNED) * _ALIGNED
    return Layout(tiles, bias, recurrent, recurrent + sum(t.size for t in tiles))
