"""Products over the steps of a backward pass: their division among threads, and their packing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from fastmask_kernels import cells, cpu
from fastmask_kernels.cpu.rnn import step_products
from fastmask_kernels.cpu.rnn.columns import columns_of
from fastmask_kernels.cpu.rnn.step_products import (
    COLUMN,
    COLUMNS,
    FIRST,
    KIND_WORDS,
    KINDS,
    MOST_ROWS,
    OPERAND,
    OUT,
    OUT_COLUMN,
    ROWS,
    WORDS,
    items_of,
)
from fastmask_kernels.cpu.rnn.transpose import transpose_rows
from fastmask_kernels.cpu.simd import flat, lanes
from fastmask_kernels.spec import KERNELS

from ..cases import CASES
from ..own_cells import CELLS

EACH = {"gru": cells.gru, "gru_before": cells.gru_reset_before, **CELLS}


@pytest.mark.parametrize("cell", EACH.values(), ids=EACH)
def test_items_are_all_gradients_once(cell: Any) -> None:
    columns = columns_of(cell)
    for features, units in ((1, 1), (3, 5), (24, 40), (300, 130), (700, 64)):
        sizes = [
            (features, len(cell.inputs) * units),
            (units, len(cell.recurrents) * units),
            *[(1, n * units) for n in (len(cell.sums), *[1] * len(cell.vectors))],
        ]
        for threads in (1, 2, 7, 64):
            words = items_of(columns, features, units, threads, "float32")
            outs = [np.zeros(size, int) for size in sizes]
            for item in np.reshape(words, (-1, WORDS)):
                kinds = item[KINDS:].reshape(3, KIND_WORDS)
                assert 0 < kinds[:, ROWS].sum() <= MOST_ROWS
                assert item[COLUMN] >= 0
                assert item[OPERAND] % units == 0 or item[OPERAND] == -1
                for kind in kinds[kinds[:, ROWS] > 0]:
                    rows = slice(kind[FIRST], kind[FIRST] + kind[ROWS])
                    own = slice(kind[OUT_COLUMN], kind[OUT_COLUMN] + item[COLUMNS])
                    outs[kind[OUT]][rows, own] += 1
            assert all((out == 1).all() for out in outs)


@njit(error_model="numpy")
def _transpose(addresses: Any, count: int, first: int, columns: int, target: Any) -> None:
    start = np.int64(0)
    transpose_rows(flat(addresses), count, first, columns, flat(target), start, target.shape[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transposed_rows(dtype: str) -> None:
    random, width = np.random.default_rng(5), lanes(dtype)
    for count, columns in ((1, 1), (width, width), (2 * width + 3, width - 1), (5, 3 * width + 2)):
        rows = random.normal(size=(40, columns + 4)).astype(dtype)
        order = random.permutation(40)[np.arange(count) % 40]
        target = np.full((columns + width, count + width), np.nan, dtype)
        addresses = rows.ctypes.data + order * rows.strides[0]
        _transpose(addresses, np.int64(count), np.int64(2), np.int64(columns), target)
        np.testing.assert_array_equal(target[:columns, :count], rows[order, 2 : 2 + columns].T)


def test_weights_and_their_gradients_may_be_transposed() -> None:
    """PyTorch stores them transposed; the sums are the same."""
    case = CASES["lstm"](7, 30, 37, 20, kind="holes")
    expected = case.run_backward(cpu)
    names = [a.name for a in KERNELS["lstm_bwd"].arguments]

    class Turned:
        """The CPU's kernels, called as PyTorch's layers call them."""

        def __getattr__(self, name: str) -> Any:
            kernel = getattr(cpu, name)
            if name != "lstm_bwd":
                return kernel

            def run(*args: Any) -> None:
                turned = list(args)
                for name in ("kernel", "recurrent_kernel", "dkernel", "drecurrent_kernel"):
                    turned[names.index(name)] = np.asfortranarray(args[names.index(name)])
                kernel.unchecked(*turned)
                for name in ("dkernel", "drecurrent_kernel"):
                    args[names.index(name)][:] = turned[names.index(name)]

            return run

    for actual, wanted in zip(case.run_backward(Turned()), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_blocks_of_steps_fill_registers() -> None:
    """Rows of a packed block have room for what transposing writes beyond their end."""
    assert step_products.BLOCK % lanes("float32") == 0
    assert step_products.BLOCK + lanes("float32") <= step_products.ROW
