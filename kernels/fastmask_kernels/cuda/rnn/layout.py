"""Where each part of a layer's packed weights begins (see `packing`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..runtime import driver as _driver
from ..runtime.device import SIMULATED, DeviceArray
from . import mma_layout
from .backward_cells import blocks_of_products
from .columns import more_numbers, require_kernels, rounds
from .emit import Kind
from .places import Spread
from .resident import spread_over
from .weights import IN_WORD, WEIGHTS, weights_of

_CAPABILITY = 8, 0  # the first with mma of bf16 and tf32, and with cp.async, which grids use
_ALIGNED = 16  # numbers: tiles are read 16 bytes at a time


class Layout(NamedTuple):
    """Where the parts of the packed weights begin."""

    spread: Spread
    bias: int
    recurrent: int
    size: int

    def require(self, packed: DeviceArray) -> None:
        """Raise ValueError if `packed` has another size or is not aligned."""
        if packed.size != self.size:
            form = WEIGHTS[self.size % _ALIGNED]
            raise ValueError(
                f"packed must have {self.size} elements for these weights in {form} "
                f"(see use_weights), not {packed.size}"
            )
        if packed.address % 16 and not SIMULATED:
            raise ValueError("packed must begin at a multiple of 16 bytes")


def spread_of(kind: Kind, units: int, dtype: Any, backwards: bool) -> Spread:
    """How the recurrent kernel of a layer is spread over blocks, in the form of `use_weights`.

    Args:
        kind: the cell and its activations.
        units: H.
        dtype: of the layer.
        backwards: for the transposed kernel.

    Raises:
        ValueError: the form does not fit `dtype`, or the device has no room or is too old.
    """
    cell, dtype, form = kind.cell, np.dtype(dtype), weights_of(dtype)
    tensor = form in IN_WORD
    require_kernels(cell, tensor)
    if backwards:
        lengths = (count * units for _, count in blocks_of_products(cell))
        products = tuple((1 if tensor else 4, length) for length in lengths)
    else:
        products = tuple((len(names), units) for names in rounds(cell))
    if tensor:
        _require_capability(f"weights in {form}")
        given = products, units, IN_WORD[form]
        return mma_layout.alone(*given) or mma_layout.together(*given)
    lanes = 16 if backwards else 4
    spread = spread_over(products, lanes, units, dtype.itemsize, more_numbers(cell))
    if spread.blocks:
        _require_capability(f"{units} units of {dtype}, which are too many for one block")
    return spread


def _require_capability(what: str) -> None:
    """Raise ValueError if the device lacks instructions that `what` needs."""
    found = _driver.limits().capability
    if found < _CAPABILITY:
        needed, has = (".".join(map(str, pair)) for pair in (_CAPABILITY, found))
        raise ValueError(f"compute capability {needed} is needed for {what}; the device has {has}")


def layout(kind: Kind, features: int, units: int, dtype: Any) -> Layout:
    """The layout of a layer's packed weights.

    Each form has its own remainder of the size modulo 16, so that weights packed in one form are
    not mistaken for another.
    """
    cell, spread = kind.cell, spread_of(kind, units, dtype, False)
    bias = features * len(cell.inputs) * units
    # Another block for each called sum, so that both kinds of GRU have the same size.
    given = (len(cell.sums) + len(cell.vectors) + len(cell.called)) * units
    recurrent = -(-(bias + given) // _ALIGNED) * _ALIGNED
    size = recurrent + spread.size + WEIGHTS.index(weights_of(dtype))
    return Layout(spread, bias, recurrent, size)
