"""Rows of a table by number.

Copies look at bytes, not at numbers: rows are read in the widest words that their size and
addresses allow, so that four compiled kernels serve every dtype. A row is shared by as many lanes
as it has words, up to a warp.

Whether a row exists is known on the device alone. A bad one gets zeros and is told to a `Fault`;
the kernels of the table wait for that and raise, callers that must not wait leave it out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from .._bits import WORDS
from . import _ptx as ptx
from ._device import DeviceArray, to_device, to_host
from ._door import checked
from ._kernel import (
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

_NONE = np.iinfo(np.int64).max


class Fault:
    """A word on the device for the first of all bad indices that a kernel meets."""

    def __init__(self, device: int) -> None:
        self.word = to_device(np.array([_NONE]), device)

    def first(self) -> int:
        """The first bad index, or -1; waits for the kernel."""
        found = int(to_host(self.word)[0])
        return -1 if found == _NONE else found


@checked
def gather_rows(out: Any, table: Any, ids: Any) -> None:
    """See `spec`; waits for the device.

    Raises:
        ValueError: an id is not the number of a row of the table.
    """
    fault = Fault(out.device)
    copy_rows(out, table, ids, len(table), fault)
    bad = fault.first()
    if bad >= 0:
        raise ValueError(
            f"ids must be in [0, {len(table)}), the rows of table, "
            f"but ids[{bad}] is {to_host(ids)[bad]}"
        )


def copy_rows(
    out: DeviceArray, table: DeviceArray, rows: DeviceArray, height: int, fault: Fault | None = None
) -> None:
    """out[i] = table[rows[i]], without waiting; zeros where there is no such row.

    Args:
        out: (N, F), any dtype.
        table: `height` rows of F items, whatever its shape.
        rows: (N), int64.
        height: rows of the table.
        fault: is told the first bad i; without one nobody is.
    """
    row_bytes = out.shape[1] * out.dtype.itemsize
    if not out.shape[0]:
        return
    told = rows if fault is None else fault.word
    word = WORDS[math.gcd(row_bytes, out.address, table.address, 8)] if row_bytes else WORDS[1]
    width = row_bytes // word.itemsize
    lanes = lanes_for(width)
    threads = threads_for(out.shape[0] * lanes)
    blocks = blocks_for(out.shape[0], threads // lanes)
    launch = _copy_rows(word).launch
    telling = fault is not None
    launch(blocks, threads, out, table, rows, told, out.shape[0], width, height, lanes, telling)


@family("u1", "u2", "u4", "u8")
def _copy_rows(dtype: np.dtype[Any]) -> Kernel:
    word = number(dtype)
    zero = dtype.type(0)

    @kernel(
        *(pointer(word), pointer(word), pointer(int64), pointer(int64)),
        *(int64, int64, int64, int32, int32),
    )
    def copy_rows(
        out: Any,
        table: Any,
        rows: Any,
        fault: Any,
        count: int,
        width: int,
        height: int,
        lanes: int,
        telling: int,
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
                    out[i * width + f] = zero
                    f += lanes
                if lane == 0 and telling:
                    ptx.lower_to(ptx.global_address(fault, 0), i)
            i += stride

    return copy_rows
