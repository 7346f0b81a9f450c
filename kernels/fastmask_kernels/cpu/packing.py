"""Weights in the order in which the micro-kernel reads them.

    packed[panel][row][gate][lane]

A panel is one SIMD register's width of units. Its rows are the bias, then the kernel's rows,
then the recurrent kernel's, each with that panel's part of every gate side by side. Units
that fill up the last panel have zero weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .simd import lanes

Array = NDArray[np.floating]


def panels_of(units: int, dtype: Any) -> int:
    """Number of panels."""
    return -(-units // lanes(dtype))


def packed_size(gates: int, features: int, units: int, dtype: Any) -> int:
    """Length of the packed weights of a layer."""
    return panels_of(units, dtype) * (1 + features + units) * gates * lanes(dtype)


def pack(packed: Array, gates: int, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """Write the packed weights of a layer."""
    features, units, width = len(kernel), len(recurrent_kernel), lanes(packed.dtype)
    size = packed_size(gates, features, units, packed.dtype)
    if len(packed) != size:
        raise ValueError(f"packed must have {size} elements for these weights, not {len(packed)}")
    panels = packed.reshape(-1, 1 + features + units, gates, width)
    if units % width:
        panels[-1, :, :, units % width :] = 0
    row = 0
    for weights in (bias[np.newaxis], kernel, recurrent_kernel):
        by_gate = weights.reshape(len(weights), gates, units)
        for number, panel in enumerate(panels):
            part = by_gate[:, :, number * width : (number + 1) * width]
            panel[row : row + len(weights), :, : part.shape[2]] = part
        row += len(weights)
