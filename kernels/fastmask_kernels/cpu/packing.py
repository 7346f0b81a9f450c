"""Weights in the order in which the micro-kernel reads them.

    packed[panel] = bias [gate][lane], kernel and recurrent kernel [strip][row][gate][lane]

A panel is one SIMD register's width of units, with all gates of each. Its weights stand in
strips of two gates, of which the micro-kernel takes one or two at a time. Units that fill up
the last panel have zero weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gemm import STRIP_VECTORS
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
    number = panels_of(units, packed.dtype)
    panels = packed.reshape(number, -1) if number else packed.reshape(0, 0)
    strip = min(gates, STRIP_VECTORS)
    start = 0
    for weights, strip_gates in (
        (bias[np.newaxis], gates),
        (kernel, strip),
        (recurrent_kernel, strip),
    ):
        rows, strips = len(weights), gates // strip_gates
        stop = start + rows * gates * width
        part = panels[:, start:stop].reshape(number, strips, rows, strip_gates, width)
        start = stop
        by_gate = weights.reshape(rows, strips, strip_gates, units).transpose(1, 0, 2, 3)
        for panel, left in zip(part, range(0, units, width)):
            columns = by_gate[..., left : left + width]
            panel[..., : columns.shape[-1]] = columns
            panel[..., columns.shape[-1] :] = 0
