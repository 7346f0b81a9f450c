"""Rows of a table by number.

Copies look at bytes, not at numbers: rows are read in the widest words that their size and
addresses allow, so that four compiled kernels serve every dtype. A row is shared by as many lanes
as it has words, up to a warp.

Whether a row exists is known on the device alone; `runtime.errors` says how the host comes to know.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ..bits import WORDS
from .runtime.checks import checked
from .runtime.device import DeviceArray
from .runtime.errors import CALLS, LATE, expect, filler
from .runtime.kernel import (
    Kernel,
    blocks_for,
    family,
    int32,
    int64,
    kernel,
    lanes_for,
    number,
    pointer,
    threads_for,
)


@checked
def gather_rows(out: Any, table: Any, ids: Any) -> None:
    """See `spec`; a bad id is told of later, see `runtime.errors`."""
    message = f"ids must be in [0, {len(table)}), the rows of table, but ids[{{place}}] is not"
    copy_rows(out, table, ids, len(table), f"{message} ({LATE.format('gather_rows')})")


def copy_rows(
    out: DeviceArray,
    table: DeviceArray,
    rows: DeviceArray,
    height: int,
    message: str | None = None,
) -> None:
    """out[i] = table[rows[i]], without waiting.

    Args:
        out: (N, F), any dtype.
        table: `height` rows of F items, whatever its shape.
        rows: (N), int64.
        height: rows of the table.
        message: of the error where there is no such row, see `errors.expect`, and floats are NaN;
            without it nobody is told, and all items are zeros.
    """
    row_bytes = out.shape[1] * out.dtype.itemsize
    if not out.shape[0]:
        return
    word = WORDS[math.gcd(row_bytes, out.address, table.address, 8)] if row_bytes else WORDS[1]
    width = row_bytes // word.itemsize
    told, call, fill = rows, 0, 0
    if message is not None:
        told, call = expect(message, out.device)
        fill = filler(out.dtype, word)
    lanes = lanes_for(width)
    threads = threads_for(out.shape[0] * lanes)
    blocks = blocks_for(out.shape[0], threads // lanes)
    launch = _copy_rows(word).launch
    launch(blocks, threads, out, table, rows, told, call, out.shape[0], width, height, lanes, fill)


@family("u1", "u2", "u4", "u8")
def _copy_rows(dtype: np.dtype[Any]) -> Kernel:
    word = number(dtype)

    @kernel(
        *(pointer(word), pointer(word), pointer(int64), pointer(int64)),
        *(int64, int64, int64, int64, int32, word),
    )
    def copy_rows(
        out: Any,
        table: Any,
        rows: Any,
        told: Any,
        call: int,
        count: int,
        width: int,
        height: int,
        lanes: int,
        fill: int,
    ) -> None:
        lane = cuda.laneid & (lanes - 1)
        stride = cuda.gridsize(1) // lanes
        i = cuda.grid(1) // lanes
        while i < count:
            row = rows[i]
            if 0 <= row < height:
                f = lane
                while f < width:
                    out[i * width + f] = table[row * width + f]
                    f += lanes
            else:
                f = lane
                while f < width:
                    out[i * width + f] = fill
                    f += lanes
                if lane == 0 and call:
                    told[0] = i * CALLS + call
            i += stride

    return copy_rows
