"""Copies between packed rows, one per valid step, and arrays with a place for every step.

A binary search in the row's part of `steps` finds a step's rank; every place is written, so the
host need not know where the gaps are.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ..ops import inlined
from ..runtime import kernel as _kernel
from ..runtime.device import DeviceArray
from ..runtime.kernel import (
    WARP,
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

    # `lanes` lanes share a place and make one search for its step together.
    @kernel(reals, reals, int64, ints, ints, *(int64,) * 5, int32)
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
        lanes: int,
    ) -> None:
        lane = cuda.laneid & (lanes - 1)
        place = cuda.grid(1) // lanes
        while place < total:
            b, t = place // time, place % time
            if reverse:
                t = time - 1 - t
            position = b * time + t
            begin, end = offsets[b], offsets[b + 1]
            # The last valid step up to here, in the order of processing.
            rank = steps_before(steps, begin, end, position if reverse else position + 1)
            p = begin + rank - (0 if reverse else 1)
            counts = p >= begin and p < end
            if counts and zero_masked:
                counts = steps[p] == position
            unit = lane
            while unit < units:
                value = zero
                if counts:
                    value = rows[p * stride + unit]
                out[place * units + unit] = value
                unit += lanes
            place += cuda.gridsize(1) // lanes

    return run


def spread(
    out: Any, rows: Any, stride: int, offsets: Any, steps: Any, reverse: bool, zero_masked: bool
) -> None:
    """out (B, T, H) from packed rows of `stride` numbers: gaps repeat the row before, or are 0."""
    batch, time, units = out.shape
    if not out.size:
        return
    places, lanes = batch * time, lanes_for(units)
    threads = threads_for(places * lanes)
    _spreader(out.dtype).launch(
        *(blocks_for(places, threads // lanes), threads),
        *(out, rows, stride, offsets, steps, time, units, places, reverse, zero_masked, lanes),
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
            p = cuda.blockIdx.y
            while p < offsets[batch]:
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
                p += cuda.gridDim.y

    return run


def fold(rows: Any, dout: Any, offsets: Any, steps: Any, reverse: bool, zero_masked: bool) -> None:
    """rows (P, H): dout (B, T, H) summed over the places that each valid step's output fills."""
    batch, time, units = dout.shape
    if not (dout.size and steps.size):
        return
    _folder(dout.dtype).launch(
        *((-(-units // WARP), min(steps.size, _kernel.MOST_BLOCKS_Y)), WARP),
        *(rows, dout, offsets, steps, batch, time, units, reverse, zero_masked),
    )


@family("i8")
def _finder(dtype: Any) -> Kernel:
    ints = pointer(number(dtype))

    @kernel(ints, ints, int64, int64)
    def run(before: Any, offsets: Any, batch: int, reverse: bool) -> None:
        b = cuda.blockIdx.x
        while b < batch:
            begin, end = offsets[b], offsets[b + 1]
            p = begin + cuda.threadIdx.x
            while p < end:
                if reverse:
                    before[p] = p + 1 if p + 1 < end else -1 - b
                else:
                    before[p] = p - 1 if p > begin else -1 - b
                p += cuda.blockDim.x
            b += cuda.gridDim.x

    return run


def rows_before(before: DeviceArray, offsets: DeviceArray, batch: int, reverse: bool) -> None:
    """before (P): the row of the step before each, or -1 - b at the first step of sequence b."""
    _finder(before.dtype).launch(
        min(batch, _kernel.MOST_BLOCKS), WARP, before, offsets, batch, reverse
    )
