"""The arguments of a backward call as int64: numbers, and the addresses of all real arrays.

A matrix takes three words: its address, and the distances from an element to those in the next
row and in the next column. Callers may have NumPy arrays or tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...cells import Cell
from ...memory import address

Array = NDArray[np.floating]
Matrix = tuple[int, int, int]

# X (B, T, F); DX likewise, or 0 where it is not wanted; GATES (P, GATES_WIDTH); DOUT (B, T, H), or
# 0 where there is none; RECURRENT and INPUTS: U^T and W^T, see `packs`. DX is computed from the
# first DX_COLUMNS of dZ; the gradients of the weights take ITEMS work items, see `step_products`.
FEATURES, UNITS, GATES_WIDTH, DX_COLUMNS, ITEMS = range(5)
X, DX, GATES, DOUT, RECURRENT, INPUTS = range(5, 11)
OUTS = 11  # the gradients of the weights, matrices
OUTS_BESIDE_VECTORS = 3


class Addresses(NamedTuple):
    """What a call reads and writes."""

    x: int  # (B, T, F)
    dx: int  # likewise, or 0
    gates: int  # (P, width * H)
    dout: int  # (B, T, H), or 0
    recurrent: int  # U^T and W^T, see `packs`
    inputs: int
    outs: Sequence[Matrix]  # gradients of kernel, recurrent kernel, bias and vectors
    states: Sequence[int]  # dfirst, dlast, steps and first of all states; then the vectors


def states_begin(cell: Cell) -> int:
    """Where `Addresses.states` begin among the words."""
    return OUTS + 3 * (OUTS_BESIDE_VECTORS + len(cell.vectors))


def words_of(numbers: Sequence[int], call: Addresses) -> NDArray[np.int64]:
    """The words of a call: the numbers, then the addresses."""
    *singles, outs, states = call
    return np.array([*numbers, *singles, *chain.from_iterable(outs), *states], np.int64)


def matrix_of(array: Array) -> Matrix:
    """The words of a matrix, or of a vector."""
    *rows, column = array.strides
    size = array.itemsize
    return address(array), rows[0] // size if rows else 0, column // size
