"""A training step's weights, packed by compiled code: once, for forward and for backward.

    packs = what forward reads (see `packing`), U^T by rounds, W^T (see `transpose.pack_blocks`),
            and the vectors

Backward uses the weights that forward had, even if they have changed since. Matrices are read in
place, by address and strides, because frameworks store them in one order or the other.

Layers that only infer pack with NumPy, see `packing.pack_weights`: they do it once, and need not
wait for this to be compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..jit import array, compiled, inner, output
from ..packing import gate_distance, packed_size, vectors_of
from ..simd import fill_row, flat, flat_from, lanes, lanes_of
from .cell_code import CellCode
from .cell_gradients import PANEL
from .columns import Columns
from .transpose import STRIP, pack_blocks, pointer_at
from .words import Matrix

Array = NDArray[np.floating]
# A table has ten int64 for each part of the packs: its matrix; its rows; the number of its blocks
# of H columns, and where in the table these are listed; where the part begins in the packs; its
# strips for backward, 0 for forward. Then, for forward alone: the distance from one register's
# width of units to the next; the gates for which that has room; the gates of a strip; whether
# gates may be paired.
MATRIX, ROWS, COUNT, BLOCKS, START, STRIPS, STEP, GATES, WIDE, PAIRED = range(10)
WORDS = 10
_i8 = types.int64


class Sizes(NamedTuple):
    """Numbers of elements of the packs, in their order in memory."""

    forward: int
    recurrent: int
    inputs: int
    vectors: int


class Packs:
    """The packed weights of a cell.

    Args:
        code: the cell as forward sees it.
        columns: the cell as backward sees it.
    """

    def __init__(self, code: CellCode, columns: Columns) -> None:
        self._code, self._columns = code, columns
        self.sizes = lru_cache(maxsize=64)(self._find_sizes)
        self.tables = lru_cache(maxsize=64)(self._make_table)

    def pack(
        self,
        packs: Array,
        features: int,
        units: int,
        matrices: Sequence[Matrix],
        forward: bool = True,
    ) -> None:
        """Write the packs.

        Args:
            packs: memory for all packs, or for those of backward if not `forward`.
            features: F.
            units: H.
            matrices: kernel (F, inputs * H), recurrent kernel (H, recurrent * H), bias
                (1, sums * H) and vectors (1, H).
            forward: whether the pack of forward is wanted, too.
        """
        table, parts = self.tables(features, units, packs.dtype, forward)
        words = np.array(matrices, np.int64)
        pack_parts.for_dtype(packs.dtype)(packs, table, words.ravel(), units, parts)

    def _find_sizes(self, features: int, units: int, dtype: np.dtype[Any]) -> Sizes:
        width, columns = lanes(dtype), self._columns
        blocks = len(columns.at_once) + len(columns.called)
        return Sizes(
            packed_size(self._code.layout, features, units, dtype),
            _in_whole(units, PANEL * width) * blocks * units,
            _in_whole(features, STRIP * width) * len(columns.inputs) * units,
            _in_whole(units, width) * len(columns.cell.vectors),
        )

    def _make_table(
        self,
        features: int,
        units: int,
        dtype: np.dtype[Any],
        forward: bool,
        backward: bool = True,
    ) -> tuple[NDArray[np.int64], int]:
        """The table, which is the parts followed by lists of blocks, and the number of parts."""
        parts = self._forward_parts(features, units, dtype) if forward else []
        begin = self.sizes(features, units, dtype).forward if forward else 0
        if backward:
            parts += self._backward_parts(features, units, dtype, begin)
        words: list[int] = []
        blocks: list[int] = []
        for part, own in parts:
            part[COUNT], part[BLOCKS] = len(own), len(parts) * WORDS + len(blocks)
            words += part
            blocks += own
        return np.array([*words, *blocks], np.int64), len(parts)

    def _forward_parts(
        self, features: int, units: int, dtype: np.dtype[Any]
    ) -> list[tuple[list[int], Sequence[int]]]:
        code, layout, width = self._code, self._code.layout, lanes(dtype)
        all_units = vectors_of(units, dtype) * width
        of_x, of_h = features * layout.inputs * width, units * layout.recurrent * width
        begin, of_vectors, paired = all_units * layout.head, layout.vectors * width, layout.paired

        def part(*words: int) -> list[int]:
            matrix, rows, start, step, gates, strip, may_be_paired = words
            return [matrix, rows, 0, 0, start, 0, step, gates, strip, may_be_paired]

        bias = part(2, 1, 0, layout.bias * width, layout.bias, layout.bias, paired)
        kernel = part(0, features, begin, of_x + of_h, layout.inputs, layout.strip, paired)
        start, strip = begin + of_x, layout.strip
        recurrent = part(1, units, start, of_x + of_h, layout.recurrent, strip, paired)
        vectors = [
            part(3 + n, 1, all_units * layout.bias + n * width, of_vectors, 1, 1, False)
            for n in range(layout.vectors)
        ]
        return [
            (bias, code.biases),
            *((vector, (0,)) for vector in vectors),
            (kernel, code.inputs),
            (recurrent, code.recurrents),
        ]

    def _backward_parts(
        self, features: int, units: int, dtype: np.dtype[Any], start: int
    ) -> list[tuple[list[int], Sequence[int]]]:
        columns, strip = self._columns, STRIP * lanes(dtype)
        of_units = _in_whole(units, PANEL * lanes(dtype)) // strip
        of_features = _in_whole(features, strip) // strip
        parts: list[tuple[list[int], Sequence[int]]] = []
        for matrix, rows, blocks, strips in (
            (1, units, columns.at_once, of_units),
            *((1, units, (each.column,), of_units) for each in columns.called),
            (0, features, columns.inputs, of_features),
        ):
            if blocks:
                parts.append(([matrix, rows, 0, 0, start, strips, 0, 0, 0, 0], blocks))
            start += strips * strip * len(blocks) * units
        width = lanes(dtype)
        for n in range(len(columns.cell.vectors)):
            begin = start + n * _in_whole(units, width)
            parts.append(([3 + n, 1, 0, 0, begin, 0, width, 1, 1, 0], (0,)))
        return parts


def _in_whole(number: int, size: int) -> int:
    return -(-number // size) * size


@inner
def _put(
    packs: Any, start: int, part: Any, blocks: Any, vector: int, words: Any, units: int
) -> None:
    """Pack a part of one register's width of units, for forward."""
    lanes, rows, strip = lanes_of(packs), part[ROWS], part[WIDE]
    matrix, row, column = pointer_at(packs, words[0]), words[1], words[2]
    some = min(lanes, units - vector * lanes)
    if some < lanes or part[COUNT] < part[GATES]:
        for i in range(rows * part[GATES]):
            fill_row(packs, start + i * lanes, lanes)
    apart = gate_distance(vector, units, lanes) if part[PAIRED] != 0 else lanes
    for n in range(part[COUNT]):
        register, lane = n * apart // lanes, n * apart % lanes
        target = start + (register // strip * rows * strip + register % strip) * lanes + lane
        source = (blocks[n] * units + vector * lanes) * column
        for k in range(rows):
            for i in range(some):
                packs[target + k * strip * lanes + i] = matrix[source + k * row + i * column]


def pack_signature(t: Any) -> Any:
    """That of `pack_parts`."""
    return types.void(output(t, 1), array(_i8, 1), array(_i8, 1), _i8, _i8)


@compiled(pack_signature)
def pack_parts(packs: Any, table: Any, words: Any, units: int, parts: int) -> None:
    """Write packs by a table, see `Packs.tables`; words are those of all matrices."""
    to, lanes = flat(packs), lanes_of(packs)
    for number in range(parts):
        part = flat_from(table, number * WORDS)
        blocks, matrix = flat_from(table, part[BLOCKS]), flat_from(words, 3 * part[MATRIX])
        if part[STRIPS] > 0:
            weights = pointer_at(packs, matrix[0])
            pack_blocks(
                *(weights, matrix, part[ROWS], units, blocks, part[COUNT]),
                *(to, part[START], part[STRIPS]),
            )
        else:
            for vector in range(-(-units // lanes)):
                _put(to, part[START] + vector * part[STEP], part, blocks, vector, matrix, units)
