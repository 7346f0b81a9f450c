"""Where everything stands in the packed weights of a layer (see `packing`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..runtime.device import SIMULATED, DeviceArray
from . import grid, mma_layout
from .backward import planes_size as backward_planes
from .backward_cells import blocks_of_products
from .columns import more_numbers, require_kernels, rounds
from .emit import Kind
from .forward import planes_size as forward_planes
from .mma_layout import Spread as Fragmented
from .resident import Spread, spread_over
from .weights import IN_WORD, WEIGHTS, weights_of

_ALIGNED = 16  # numbers: tiles are read 16 bytes at a time


class Layout(NamedTuple):
    """Where the parts of the packed weights begin."""

    spread: Spread | Fragmented
    bias: int
    recurrent: int
    size: int

    def require(self, packed: DeviceArray) -> None:
        """Raises ValueError if `packed` has another size."""
        if packed.size != self.size:
            form = WEIGHTS[self.size % _ALIGNED]
            raise ValueError(
                f"packed must have {self.size} elements for these weights in {form} "
                f"(see use_weights), not {packed.size}"
            )
        if packed.address % 16 and not SIMULATED:
            raise ValueError("packed must begin at a multiple of 16 bytes")


def spread_of(kind: Kind, units: int, dtype: Any, backwards: bool) -> Spread | Fragmented:
    """How the recurrent kernel of a layer is spread over blocks, in the form of `use_weights`.

    Args:
        kind: of the cell.
        units: H.
        dtype: of the layer.
        backwards: the transposed kernel is wanted.

    Raises:
        ValueError: the form does not go with `dtype`, or the device has no room.
    """
    dtype = np.dtype(dtype)
    form = weights_of(dtype)
    if form in IN_WORD:
        return mma_layout.spread_of(kind, units, IN_WORD[form], backwards)
    require_kernels(kind.cell, tensor_cores=False)
    if backwards:
        inner = tuple(count * units for _, count in blocks_of_products(kind.cell))
        shape = (4,) * len(inner), 16, inner
        vectors = backward_planes
    else:
        columns = tuple(map(len, rounds(kind.cell)))
        shape = columns, 4, (units,) * len(columns)
        vectors = forward_planes
    more = more_numbers(kind.cell)
    return spread_over(*shape, units, dtype.itemsize, vectors, grid.vector_size, more)


def layout(kind: Kind, features: int, units: int, dtype: Any) -> Layout:
    """Of the packed weights of a layer.

    The size of another form than float32 ends in a number of its own: weights that were packed
    in one form are not taken for another.
    """
    cell, spread = kind.cell, spread_of(kind, units, dtype, False)
    bias = features * len(cell.inputs) * units
    # A block for each called sum besides, so that both forms of the GRU have one size.
    given = (len(cell.sums) + len(cell.vectors) + len(cell.called)) * units
    recurrent = -(-(bias + given) // _ALIGNED) * _ALIGNED
    size = recurrent + spread.size + WEIGHTS.index(weights_of(dtype))
    return Layout(spread, bias, recurrent, size)
