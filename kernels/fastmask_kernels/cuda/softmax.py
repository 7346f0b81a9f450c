"""Softmax over the valid steps.

out = exp(x - top) / total, where top is the largest valid x of a row's feature, so that no power
overflows, and total is the sum of the powers. Powers are computed twice, which is cheaper than
writing and reading them.

A block owns some features of one row: `lanes` threads side by side, so that memory accesses are
coalesced, times as many along time as the block has room for. A tree reduction, whose shape depends
only on the sizes, combines their results: they repeat to the bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from .runtime import kernel as _kernel
from .runtime.checks import checked
from .runtime.kernel import Kernel, family, int32, int64, kernel, lanes_for, number, pointer, uint8

_MOST_THREADS = 128  # a block has room for as many partial results


@checked
def masked_softmax(out: Any, x: Any, valid: Any) -> None:
    """See `spec`."""
    rows, time, features = x.shape
    if not time:
        return
    lanes = lanes_for(features)
    threads = lanes * min(_kernel.THREADS // lanes, lanes_for_time(time))
    grid = min(-(-features // lanes), _kernel.MOST_BLOCKS), min(rows, _kernel.MOST_BLOCKS_Y)
    _softmax(x.dtype).launch(grid, threads, out, x, valid, rows, time, features, lanes)


def lanes_for_time(time: int) -> int:
    """Threads along time: a power of two, so that they can be halved."""
    return min(1 << max(time - 1, 0).bit_length(), _MOST_THREADS)


@family("f4", "f8")
def _softmax(dtype: np.dtype[Any]) -> Kernel:
    real = number(dtype)
    lowest, zero = dtype.type(-np.inf), dtype.type(0)

    # threads = lanes * ways, both powers of two. A barrier separates reading `found` from writing
    # it again.
    @kernel(pointer(real), pointer(real), pointer(uint8), int64, int64, int64, int32)
    def softmax(
        out: Any, x: Any, valid: Any, rows: int, time: int, features: int, lanes: int
    ) -> None:
        found = cuda.shared.array(_MOST_THREADS, real)
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        lane, way, ways = thread & (lanes - 1), thread // lanes, threads // lanes
        b = cuda.blockIdx.y
        while b < rows:
            first = cuda.blockIdx.x * lanes
            while first < features:
                here = first + lane < features
                origin = b * time * features + first + lane
                top = lowest
                if here:
                    t = way
                    while t < time:
                        if valid[b * time + t]:
                            value = x[origin + t * features]
                            if value > top or value != value:
                                top = value
                        t += ways
                found[thread] = top
                half = threads // 2
                while half >= lanes:
                    cuda.syncthreads()
                    if thread < half:
                        value = found[thread + half]
                        if value > found[thread] or value != value:
                            found[thread] = value
                    half //= 2
                cuda.syncthreads()
                top = found[lane]
                cuda.syncthreads()

                total = zero
                if here:
                    t = way
                    while t < time:
                        if valid[b * time + t]:
                            total += math.exp(x[origin + t * features] - top)
                        t += ways
                found[thread] = total
                half = threads // 2
                while half >= lanes:
                    cuda.syncthreads()
                    if thread < half:
                        found[thread] += found[thread + half]
                    half //= 2
                cuda.syncthreads()
                total = found[lane]
                cuda.syncthreads()

                if here:
                    t = way
                    while t < time:
                        if valid[b * time + t]:
                            power = math.exp(x[origin + t * features] - top)
                            out[origin + t * features] = power / total
                        else:
                            out[origin + t * features] = zero
                        t += ways
                first += cuda.gridDim.x * lanes
            b += cuda.gridDim.y

    return softmax
