"""Weights packed for a training step by compiled code, forward and backward, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels.cpu.rnn.cell_gradients import PANEL
from fastmask_kernels.cpu.rnn.cells import code_of_cell, pack_cell
from fastmask_kernels.cpu.rnn.columns import columns_of
from fastmask_kernels.cpu.rnn.packs import Packs
from fastmask_kernels.cpu.rnn.transpose import STRIP
from fastmask_kernels.cpu.rnn.words import matrix_of
from fastmask_kernels.cpu.simd import lanes

from ..own_cells import EACH_OWN_CELL

SIZES = (1, 1), (3, 5), (5, 17), (7, 16), (2, 100), (24, 40), (40, 130)


def weights_of(cell: Any, features: int, units: int, dtype: str) -> list[Any]:
    """Kernel, recurrent kernel, bias and vectors."""
    draw, columns = np.random.default_rng(units), (len(cell.inputs), len(cell.recurrents))
    shapes = [(features, columns[0] * units), (units, columns[1] * units)]
    rest = [(len(cell.sums) * units,), *[(units,) for _ in cell.vectors]]
    return [draw.normal(size=shape).astype(dtype) for shape in (*shapes, *rest)]


def packs_of(cell: Any, features: int, units: int, weights: list[Any], forward: bool) -> list[Any]:
    """The four parts, in memory that was full of NaN; weights are in either memory order."""
    packs, dtype = Packs(code_of_cell(cell), columns_of(cell)), weights[0].dtype
    sizes = list(packs.sizes(features, units, dtype))
    sizes[0] *= forward
    found = np.full(sum(sizes), np.nan, dtype)
    packs.pack(found, features, units, list(map(matrix_of, weights)), forward)
    return np.split(found, np.cumsum(sizes)[:-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@EACH_OWN_CELL
def test_packs(cell: Any, dtype: str) -> None:
    columns, width = columns_of(cell), lanes(dtype)
    for features, units in SIZES:
        weights = weights_of(cell, features, units, dtype)
        kernel, recurrent_kernel, bias, *vectors = weights
        turned = [*map(np.asfortranarray, weights[:2]), bias, *vectors]
        found = packs_of(cell, features, units, turned, True)
        for one, same in zip(found, packs_of(cell, features, units, weights, True), strict=True):
            np.testing.assert_array_equal(one, same)
        forward, of_h, of_x, of_vectors = found
        expected = np.full_like(forward, np.nan)
        pack_cell(code_of_cell(cell), expected, kernel, recurrent_kernel, bias, vectors)
        np.testing.assert_array_equal(forward, expected)
        called = [[each.column] for each in columns.called]
        rounds = [transposed(recurrent_kernel, units, own, PANEL * width) for own in called]
        at_once = transposed(recurrent_kernel, units, columns.at_once, PANEL * width)
        np.testing.assert_array_equal(of_h, np.concatenate([at_once, *rounds]))
        expected = transposed(kernel, units, columns.inputs, STRIP * width)
        np.testing.assert_array_equal(of_x, expected)
        padded = [np.pad(vector, (0, -units % width)) for vector in vectors]
        np.testing.assert_array_equal(of_vectors, np.ravel(padded))
        backward = packs_of(cell, features, units, weights, False)
        for one, same in zip(backward[1:], found[1:], strict=True):
            np.testing.assert_array_equal(one, same)


def transposed(weights: Any, units: int, blocks: Any, whole: int) -> Any:
    """Blocks of columns [strip][block][column][row], with zeros for missing rows."""
    rows, width = len(weights), STRIP * lanes(weights.dtype)
    chosen = weights.reshape(rows, weights.shape[1] // units, units)[:, list(blocks)]
    chosen = np.pad(chosen, ((0, -rows % whole), (0, 0), (0, 0)))
    by_strip = chosen.reshape(len(chosen) // width, width, len(blocks), units)
    return by_strip.transpose(0, 2, 3, 1).ravel()
