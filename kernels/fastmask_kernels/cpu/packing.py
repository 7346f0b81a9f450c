"""Weights in the order in which the micro-kernel reads them.

    packed = bias [vector][gate][lane], the cell's own vectors likewise, then [vector] kernel and
             recurrent kernel, both [strip][row][gate][lane]

Quantized weights are packed several to a word (see `quantized.formats`), which takes the place of
a number; a row is then a row of words. Before the matrices come the scales of the kernel's
columns, the start values of their sums, and the same for the recurrent kernel.

A vector here is one SIMD register's width of units, with all gates of each. Its weights are in
strips of as many gates as a micro-kernel reads side by side. The last vector is padded with units
that have zero weights. Where the padding is half of it or more and gates come in pairs, a register
holds a pair of gates, half and half, and the rest of the vector's place stays empty: a layer of
100 units is then 4 % wider in registers of 16, not 12 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .jit import inner
from .simd import lanes

Array = NDArray[np.floating]


class Layout(NamedTuple):
    """How many gates a unit has in each part of its weights, and in a strip."""

    bias: int
    vectors: int  # numbers a unit that belong to no gate
    inputs: int
    recurrent: int
    strip: int
    paired: bool  # whether a last register that is half empty holds a pair of gates
    group: int = 1  # weights in a word
    scaled: bool = False  # whether columns have scales

    @property
    def head(self) -> int:
        """Numbers that a unit has before its matrices."""
        return self.bias + self.vectors + self.scaled * 2 * (self.inputs + self.recurrent)

    def unit_size(self, features: int, units: int) -> int:
        """Elements that a unit takes."""
        rows_of_x, rows_of_h = (-(-rows // self.group) for rows in (features, units))
        return self.head + self.inputs * rows_of_x + self.recurrent * rows_of_h


def vectors_of(units: int, dtype: Any) -> int:
    """Number of registers that hold one number a unit."""
    return -(-units // lanes(dtype))


def packed_size(layout: Layout, features: int, units: int, dtype: Any) -> int:
    """Length of the packed weights of a layer."""
    width = vectors_of(units, dtype) * lanes(dtype)
    return width * layout.unit_size(features, units)


def pack_weights(
    packed: Array,
    layout: Layout,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    vectors: Array,
    scales: Sequence[Array] = (),
) -> None:
    """Write the packed weights of a layer.

    Args:
        packed: (packed_size,)
        layout: the layer's.
        kernel: (F, inputs, H), or fewer rows of words.
        recurrent_kernel: (H, recurrent, H), or fewer rows of words.
        bias: (up to layout.bias, H); missing rows are 0.
        vectors: (vectors, H)
        scales: scales of the kernel's columns, (inputs, H), and start values of their sums; then
            the same for the recurrent kernel.
    """
    units, width = bias.shape[-1], lanes(packed.dtype)
    number, stop = vectors_of(units, packed.dtype), 0
    matrices = sum(weights.shape[0] * weights.shape[1] for weights in (kernel, recurrent_kernel))
    size = number * width * (layout.head + matrices)
    if len(packed) != size:
        raise ValueError(f"packed must have {size} elements for these weights, not {len(packed)}")
    for rows, gates, paired in (
        (bias, layout.bias, layout.paired),
        (vectors, layout.vectors, False),
        *((rows, len(rows), layout.paired) for rows in scales),
    ):
        if gates == 0:
            continue
        start, stop = stop, stop + number * gates * width
        part = packed[start:stop].reshape(number, 1, 1, gates, width)
        if len(rows) < gates:
            part[:, :, :, len(rows) :] = 0
        _fill(part[:, :, :, : len(rows)], rows[np.newaxis], units, paired)
    of_vectors = packed[stop:].reshape(number, -1) if number else packed.reshape(0, 0)
    stop = 0
    for weights in (kernel, recurrent_kernel):
        rows, gates, _ = weights.shape
        start, stop = stop, stop + rows * gates * width
        part = of_vectors[:, start:stop].reshape(
            number, gates // layout.strip, rows, layout.strip, width
        )
        _fill(part, weights, units, layout.paired)


def pack_rows(rows: Array, layout: Layout, empty: Callable[[int, Any], Array]) -> Array:
    """Rows (V, inputs, H) in the order of a row of sums: a table [row][vector][gate][lane].

    Args:
        rows: the values of the sums that have a part of x.
        layout: the layer's.
        empty: makes an uninitialized array from its size and dtype.
    """
    count, gates, units = rows.shape
    number, width = vectors_of(units, rows.dtype), lanes(rows.dtype)
    table = empty(count * number * gates * width, rows.dtype).reshape(count, -1)
    part = table.reshape(count, number, gates, width).transpose(1, 0, 2, 3)[:, np.newaxis]
    _fill(part, rows, units, layout.paired)
    return table


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
    if full < len(part):
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
    """The distance between the gates of a vector, in layouts with `paired`."""
    return lanes // 2 if 2 * (units - vector * lanes) <= lanes else lanes
