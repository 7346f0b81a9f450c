"""Weights in the order in which the micro-kernel reads them.

    packed = bias [vector][gate][lane], then [vector] kernel and recurrent kernel, both
             [strip][row][gate][lane]

A vector is one SIMD register's width of units, with all gates of each. Its weights stand in
strips of as many gates as a micro-kernel reads side by side. Units that fill up the last
vector have zero weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .simd import lanes

Array = NDArray[np.floating]


class Layout(NamedTuple):
    """How many gates a unit has in each part of its weights, and in a strip."""

    bias: int
    inputs: int
    recurrent: int
    strip: int

    def unit_size(self, features: int, units: int) -> int:
        """Elements that a unit takes."""
        return self.bias + self.inputs * features + self.recurrent * units


def vectors_of(units: int, dtype: Any) -> int:
    """Number of registers that hold one number a unit."""
    return -(-units // lanes(dtype))


def packed_size(layout: Layout, features: int, units: int, dtype: Any) -> int:
    """Length of the packed weights of a layer."""
    width = vectors_of(units, dtype) * lanes(dtype)
    return width * layout.unit_size(features, units)


def pack(
    packed: Array, layout: Layout, kernel: Array, recurrent_kernel: Array, bias: Array
) -> None:
    """Write the packed weights of a layer.

    Args:
        packed: (packed_size,)
        layout: the layer's.
        kernel: (F, inputs * H)
        recurrent_kernel: (H, recurrent * H)
        bias: (bias * H,)
    """
    features, units, width = len(kernel), len(recurrent_kernel), lanes(packed.dtype)
    size = packed_size(layout, features, units, packed.dtype)
    if len(packed) != size:
        raise ValueError(f"packed must have {size} elements for these weights, not {len(packed)}")
    number = vectors_of(units, packed.dtype)
    biases = number * layout.bias * width
    matrices = packed[biases:].reshape(number, -1) if number else packed.reshape(0, 0)
    _fill(packed[:biases].reshape(number, 1, 1, layout.bias, width), bias, units)
    start = 0
    for weights, gates in ((kernel, layout.inputs), (recurrent_kernel, layout.recurrent)):
        rows, strips = len(weights), gates // layout.strip
        stop = start + rows * gates * width
        part = matrices[:, start:stop].reshape(number, strips, rows, layout.strip, width)
        _fill(part, weights, units)
        start = stop


def _fill(part: Array, weights: Array, units: int) -> None:
    """part[vector, strip, row, gate, lane] = weights[row, (strip, gate, vector, lane)]."""
    _, strips, rows, gates, width = part.shape
    by_gate = weights.reshape(rows, strips, gates, units).transpose(1, 0, 2, 3)
    for i, vector in enumerate(part):
        columns = by_gate[..., i * width : (i + 1) * width]
        vector[..., : columns.shape[-1]] = columns
        vector[..., columns.shape[-1] :] = 0
