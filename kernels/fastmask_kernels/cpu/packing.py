"""Weights in the order in which the micro-kernel reads them.

    packed = bias [vector][gate][lane], then [vector] kernel and recurrent kernel, both
             [strip][row][gate][lane]

A vector is one SIMD register's width of units, with all gates of each. Its weights stand in
strips of as many gates as a micro-kernel reads side by side. Units that fill up the last
vector have zero weights. Where they are half of it or more and gates come in pairs, a register
holds a pair of gates, half and half, and the rest of the vector's place stays empty: a layer of
100 units is then 4 % wider in registers of 16, not 12 %.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .jit import inner
from .simd import lanes

Array = NDArray[np.floating]


class Layout(NamedTuple):
    """How many gates a unit has in each part of its weights, and in a strip."""

    bias: int
    inputs: int
    recurrent: int
    strip: int

    @property
    def paired(self) -> bool:
        """Whether a last vector that is half empty has a pair of gates in a register."""
        return self.strip % 2 == 0

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
    _fill(packed[:biases].reshape(number, 1, 1, layout.bias, width), bias, units, layout.paired)
    start = 0
    for weights, gates in ((kernel, layout.inputs), (recurrent_kernel, layout.recurrent)):
        rows, strips = len(weights), gates // layout.strip
        stop = start + rows * gates * width
        part = matrices[:, start:stop].reshape(number, strips, rows, layout.strip, width)
        _fill(part, weights, units, layout.paired)
        start = stop


def _fill(part: Array, weights: Array, units: int, paired: bool) -> None:
    """part[vector, strip, row, gate, lane] = weights[row, (strip, gate, vector, lane)]."""
    _, strips, rows, gates, width = part.shape
    by_gate = weights.reshape(rows, strips, gates, units).transpose(1, 0, 2, 3)
    full = units // width
    whole = by_gate[..., : full * width].reshape(strips, rows, gates, full, width)
    part[:full] = whole.transpose(3, 0, 1, 2, 4)
    columns = by_gate[..., full * width :]
    if paired and 0 < 2 * columns.shape[-1] <= width:
        columns = _in_pairs(columns, width)
    part[full:, ..., : columns.shape[-1]] = columns
    part[full:, ..., columns.shape[-1] :] = 0


def _in_pairs(columns: Array, width: int) -> Array:
    """[strip, row, gate, unit] with two gates in each of the first half of all registers."""
    strips, rows, gates, units = columns.shape
    halves = np.zeros((rows, 2 * strips * gates, width // 2), columns.dtype)
    by_row = columns.transpose(1, 0, 2, 3).reshape(rows, strips * gates, units)
    halves[:, : strips * gates, :units] = by_row
    return halves.reshape(rows, strips, gates, width).transpose(1, 0, 2, 3)


@inner
def gate_distance(vector: int, units: int, lanes: int) -> int:
    """How far apart the gates of a vector stand in layouts with `paired`."""
    return lanes // 2 if 2 * (units - vector * lanes) <= lanes else lanes
