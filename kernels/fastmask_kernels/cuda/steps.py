"""Between packed rows, one for each valid step, and arrays with a place for every step.

A step's rank is found by binary search in its row's part of `steps`; every place is written by
one thread, so the host need not know where the gaps are.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ._device import DeviceArray
from ._kernel import (
    MOST_BLOCKS,
    MOST_BLOCKS_Y,
    THREADS,
    WARP,
    Kernel,
    blocks_for,
    family,
    int64,
    kernel,
    number,
    pointer,
)
from .ops import inlined


@inlined
def steps_before(steps: Any, begin: int, end: int, position: int) -> Any:
    """How many of steps[begin:end], ascending, are smaller than `position`."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if steps[middle] < position:
            low = middle + 1
        else:
            high = middle
    return low - begin


@family("f4", "f8")
def _spreader(dtype: Any) -> Kernel:
    zero = dtype.type(0)
    reals, ints = pointer(number(dtype)), pointer(int64)

    @kernel(reals, reals, int64, ints, ints, *(int64,) * 5)
    def run(
        out: Any,
        rows: Any,
        stride: int,
        offsets: Any,
        steps: Any,
        time: int,
        units: int,
        total: int,
        reverse: bool,
        zero_masked: bool,
    ) -> None:
        unit = cuda.grid(1)
        for place in range(cuda.blockIdx.y, total, cuda.gridDim.y):
            b, t = place // time, place % time
            if reverse:
                t = time - 1 - t
            position = b * time + t
            begin, end = offsets[b], offsets[b + 1]
            # The last valid step up to here, in the order of processing.
            rank = steps_before(steps, begin, end, position if reverse else position + 1)
            p = begin + rank - (0 if reverse else 1)
            value = zero
            if p >= begin and p < end and unit < units:
                if not zero_masked or steps[p] == position:
                    value = rows[p * stride + unit]
            if unit < units:
                out[place * units + unit] = value

    return run


def spread(
    out: Any, rows: Any, stride: int, offsets: Any, steps: Any, reverse: bool, zero_masked: bool
) -> None:
    """out (B, T, H) from packed rows of `stride` numbers: gaps repeat what is before, or zeros."""
    batch, time, units = out.shape
    if not out.size:
        return
    _spreader(out.dtype).launch(
        *((-(-units // WARP), min(batch * time, MOST_BLOCKS_Y)), WARP),
        *(out, rows, stride, offsets, steps, time, units, batch * time, reverse, zero_masked),
    )


@family("f4", "f8")
def _folder(dtype: Any) -> Kernel:
    zero = dtype.type(0)
    reals, ints = pointer(number(dtype)), pointer(int64)

    @kernel(reals, reals, ints, ints, *(int64,) * 5)
    def run(
        rows: Any,
        dout: Any,
        offsets: Any,
        steps: Any,
        batch: int,
        time: int,
        units: int,
        reverse: bool,
        zero_masked: bool,
    ) -> None:
        unit = cuda.grid(1)
        if unit < units:
            for p in range(cuda.blockIdx.y, offsets[batch], cuda.gridDim.y):
                position = steps[p]
                b = position // time
                t = position - b * time
                until = t + 1  # in the order of processing
                if reverse:
                    t = time - 1 - t
                    until = t + 1
                if not zero_masked:
                    until = time
                    if reverse and p > offsets[b]:
                        until = time - 1 - (steps[p - 1] - b * time)
                    if not reverse and p + 1 < offsets[b + 1]:
                        until = steps[p + 1] - b * time
                total = zero
                for place in range(t, until):
                    total += dout[(b * time + place) * units + unit]
                rows[p * units + unit] = total

    return run


def fold(rows: Any, dout: Any, offsets: Any, steps: Any, reverse: bool, zero_masked: bool) -> None:
    """rows (P, H): what dout (B, T, H) gives to the output of each valid step."""
    batch, time, units = dout.shape
    if not (dout.size and steps.size):
        return
    _folder(dout.dtype).launch(
        *((-(-units // WARP), min(steps.size, MOST_BLOCKS_Y)), WARP),
        *(rows, dout, offsets, steps, batch, time, units, reverse, zero_masked),
    )


@family("i8")
def _finder(dtype: Any) -> Kernel:
    ints = pointer(number(dtype))

    @kernel(ints, ints, int64, int64)
    def run(before: Any, offsets: Any, batch: int, reverse: bool) -> None:
        for b in range(cuda.blockIdx.x, batch, cuda.gridDim.x):
            begin, end = offsets[b], offsets[b + 1]
            for p in range(begin + cuda.threadIdx.x, end, cuda.blockDim.x):
                if reverse:
                    before[p] = p + 1 if p + 1 < end else -1 - b
                else:
                    before[p] = p - 1 if p > begin else -1 - b

    return run


def rows_before(before: DeviceArray, offsets: DeviceArray, batch: int, reverse: bool) -> None:
    """before (P): the row of the step before each, or -1 - b at the first step of sequence b."""
    _finder(before.dtype).launch(min(batch, MOST_BLOCKS), WARP, before, offsets, batch, reverse)


@family("f4", "f8")
def _eraser(dtype: Any) -> Kernel:
    zero = dtype.type(0)

    @kernel(pointer(number(dtype)), int64)
    def run(array: Any, size: int) -> None:
        for i in range(cuda.grid(1), size, cuda.gridsize(1)):
            array[i] = zero

    return run


def fill_zeros(array: DeviceArray) -> None:
    """All elements become 0."""
    _eraser(array.dtype).launch(blocks_for(array.size), THREADS, array, array.size)
