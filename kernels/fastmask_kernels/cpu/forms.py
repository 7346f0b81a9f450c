"""Kernels of layers in other forms: quantized weights, and tables of sums instead of x."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .. import cells
from ..cells import Cell
from ..cells.table import CellKernels
from ..memory import aligned_empty
from .packing import Array, pack_rows
from .quantized.dense import dense, dense_pack, dense_packed_size
from .quantized.formats import FORMATS
from .rnn.cells import code_of_cell, in_order, kernels_of
from .rnn.gru import gru_kernels, gru_weights

_OF_TABLE = {"lstm": cells.lstm, "rnn": cells.simple_rnn}


class DenseKernels(NamedTuple):
    """The kernels of a dense layer, see `quantized.dense`."""

    packed_size: Callable[[int, int], int]
    pack: Callable[..., None]
    run: Callable[..., None]


@cache
def dense_kernels(format: str) -> DenseKernels:
    """The kernels of dense layers with weights of a format."""
    functions: Any = (dense_packed_size, dense_pack, dense)
    return DenseKernels(*(partial(one, format=FORMATS[format]) for one in functions))


def kernels_in_form(cell: Cell | str, format: str | None, gathered: bool) -> CellKernels:
    """The kernels of a cell in another form; they check nothing.

    Args:
        cell: the cell, or the name that the table has for it.
        format: the format of the weights; None for the dtype of everything else.
        gathered: whether x is not multiplied, but selects rows of a table of sums. Then `pack`
            takes a kernel without rows. `fwd` takes as `packed` a pair, what `pack` wrote and the
            table from `sums_of_rows`, and as `x` any object with the shape and dtype of x whose
            `ids`, int64 (B, T), are the numbers of the rows, all in the table.
    """
    if cell == "gru":
        return gru_kernels(format, gathered)
    return kernels_of(_OF_TABLE[cell] if isinstance(cell, str) else cell, format, gathered)


def sums_of_rows(cell: Cell | str, rows: Array, kernel: Array, bias: Array, *flags: bool) -> Array:
    """The table (V, ...) of bias + row @ kernel for the rows (V, F) of an embedding.

    Args:
        cell: the cell, or the name that the table has for it.
        rows: (V, F)
        kernel: as `pack` takes it.
        bias: as `pack` takes it.
        flags: what else `pack` takes.
    """
    if cell == "gru":
        cell, bias = gru_weights(bias, *flags)
    code = code_of_cell(_OF_TABLE[cell] if isinstance(cell, str) else cell, None, False)
    inputs, units = code.layout.inputs, bias.shape[-1] // len(code.cell.sums)
    sums = in_order(rows @ kernel, code.inputs, units)
    sums += in_order(bias[np.newaxis], code.biases, units)[:, :inputs]
    return pack_rows(sums, code.layout, aligned_empty)
