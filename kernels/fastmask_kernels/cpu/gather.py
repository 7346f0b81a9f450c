"""Rows of a table by number.

Copies look at bytes, not at numbers: arrays are viewed as the widest unsigned integers that
their dtype's size and alignment allow, so that four compiled kernels serve every dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..bits import word_of
from ..checks import checked
from .jit import array, compiled, output

Ints = NDArray[np.int64]


@checked
def gather_rows(out: NDArray[Any], table: NDArray[Any], ids: Ints) -> None:
    """See `spec`.

    Raises:
        ValueError: an id is not the number of a row of the table.
    """
    bad = copy_rows(out, table, ids)
    if bad >= 0:
        raise ValueError(
            f"ids must be in [0, {len(table)}), the rows of table, but ids[{bad}] is {ids[bad]}"
        )


def copy_rows(out: NDArray[Any], table: NDArray[Any], rows: Ints) -> int:
    """out[i] = table[rows[i]] for 2-D arrays of one dtype; the first bad i, or -1."""
    word = word_of(out.dtype)
    return int(_copy_rows.for_dtype(word)(out.view(word), table.view(word), rows))


@compiled(lambda u: types.int64(output(u, 2), array(u, 2), array(types.int64, 1)))
def _copy_rows(out: Any, table: Any, rows: Any) -> int:
    width = out.shape[1]
    for i in range(rows.size):
        row = rows[i]
        if row < 0 or row >= table.shape[0]:
            return i
        for f in range(width):
            out[i, f] = table[row, f]
    return -1
