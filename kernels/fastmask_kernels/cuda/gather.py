"""Rows of a table by number.

Rows are copied as bytes, in the widest words that their size and addresses allow, so that four
compiled kernels serve every dtype. As many lanes share a row as it has words, up to a warp.

Only the device knows whether a row exists; `runtime.errors` says how the host learns of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from ..bits import WORDS
from .runtime.checks import checked
from .runtime.device import DeviceArray
from .runtime.errors import CALLS, LATE, expect, filler
from .runtime.kernel import Kernel, family, int32, int64, kernel, lanes_for, number, pointer, span


@checked
def gather_rows(out: Any, table: Any, ids: Any) -> None:
    """See `spec`; a bad id is reported later, see `runtime.errors`."""
    most, late = len(table), LATE.format("gather_rows")

    def message(place: int) -> str:
        return f"ids must be in [0, {most}), the rows of table, but ids[{place}] is not ({late})"

    copy_rows(out, table, ids, most, message)


def copy_rows(
    out: DeviceArray,
    table: DeviceArray,
    rows: DeviceArray,
    height: int,
    message: Callable[[int], str] | None = None,
) -> None:
    """out[i] = table[rows[i]], without waiting.

    Args:
        out: (N, F), any dtype.
        table: `height` rows of F items, whatever its shape.
        rows: (N), int64.
        height: rows of the table.
        message: of the error for a row that does not exist, see `errors.expect`; its floats are
            NaN. Without it nothing is reported, and all items are zeros.
    """
    if not out.shape[0]:
        return
    row_bytes = out.shape[1] * out.dtype.itemsize
    word = WORDS[math.gcd(row_bytes, out.address, table.address, 8)] if row_bytes else WORDS[1]
    width = row_bytes // word.itemsize
    report = rows, 0, 0
    if message is not None:
        report = *expect(message, out.device), filler(out.dtype, word)
    lanes = lanes_for(width)
    sizes = out.shape[0], width, height, lanes
    _copy_rows(word).launch(*span(out.shape[0], lanes), out, table, rows, report, sizes)


@family("u1", "u2", "u4", "u8")
def _copy_rows(dtype: np.dtype[Any]) -> Kernel:
    word, ints = number(dtype), pointer(int64)
    words = pointer(word)

    @kernel(words, words, ints, (ints, int64, word), (int64, int64, int64, int32))
    def copy_rows(out: Any, table: Any, rows: Any, report: Any, sizes: Any) -> None:
        told, call, fill = report
        count, width, height, lanes = sizes
        lane = cuda.laneid & (lanes - 1)
        stride = cuda.gridsize(1) // lanes
        i = cuda.grid(1) // lanes
        while i < count:
            row = rows[i]
            exists = 0 <= row < height
            f = lane
            while f < width:
                out[i * width + f] = table[row * width + f] if exists else fill
                f += lanes
            if not exists and lane == 0 and call:
                told[0] = i * CALLS + call
            i += stride

    return copy_rows
