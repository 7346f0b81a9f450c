"""Dense layers with quantized weights: out = x @ kernel + bias.

A few rows of x are converted at a time, and multiplied with all columns of the kernel.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ...memory import aligned_empty
from ...packed import wrong_packed
from ..gemm import Tiles
from ..jit import CompiledKernel, array, compiled, output
from ..packing import vectors_of
from ..parallel.atomics import atomic_add
from ..parallel.barrier import GROUPS_DONE, NEXT_GROUP, arrive, control_size, wait_for
from ..parallel.queue import LEFT, UNSHARED, submit
from ..parallel.run import reserve, run
from ..simd import copy_row, flat, flat_from, lanes, lanes_of
from .formats import Format
from .product import MOST_SUMS, quantized_product
from .rows import row_converter, stride_of
from .weights import quantized

Array = NDArray[np.floating]
STRIP = 2  # registers
_TILES = Tiles(strip=STRIP, row=STRIP, widths=(STRIP,), sums=MOST_SUMS)
_ROWS = 4 * _TILES.rows  # rows that a thread converts at a time
_i8 = types.int64


def dense_packed_size(features: int, units: int, format: Format) -> int:
    """Length of `packed`."""
    return _strips(units) * STRIP * lanes(np.float32) * (3 + format.words(features))


def _strips(units: int) -> int:
    return -(-vectors_of(units, np.float32) // STRIP)


def dense_pack(packed: Array, kernel: Array, bias: Array, format: Format) -> None:
    """Write the weights as `dense` reads them: bias, scales, start values of sums; then strips.

    Args:
        packed: (dense_packed_size,), float32.
        kernel: (F, U), float32.
        bias: (U,)
        format: of the kernel.
    """
    number, width = _strips(len(bias)), STRIP * lanes(np.float32)
    words, factors, starts = quantized(kernel, format)
    rows = np.zeros((3 + len(words), number * width), np.float32)
    for row, values in zip(rows, (bias, factors, starts, *words), strict=True):
        row[: len(bias)] = values
    head = 3 * number * width
    packed[:head] = rows[:3].reshape(-1)
    strips = rows[3:].reshape(-1, number, width).transpose(1, 0, 2)
    packed[head:] = strips.reshape(-1)


@cache
def _kernel(format: Format) -> CompiledKernel:
    convert_rows, multiply = row_converter(format), quantized_product(format, _TILES)
    group, rows_at_once = format.group, _ROWS

    def signature(t: Any) -> Any:
        return _i8(
            *(output(t, 2), array(t, 2), array(t, 1), output(t, 1), output(_i8, 1)),
            *(_i8, output(_i8, 1), _i8, _i8),
        )

    @compiled(signature, f"dense_{format.name}")
    def dense(
        out: Any,
        x: Any,
        packed: Any,
        memory: Any,
        integers: Any,
        threads: int,
        queue: Any,
        provider: int,
        thread: int,
    ) -> int:
        width = lanes_of(memory) * STRIP
        features, units, rows = x.shape[1], out.shape[1], x.shape[0]
        number, words = -(-units // width), -(-features // group)
        stride = -(-features // lanes_of(memory)) * (lanes_of(memory) // group) + 1
        ended = submit(queue, provider, integers, threads, thread)
        if ended != UNSHARED:
            return int(ended)
        control = flat(integers)
        arrive(control, thread)
        zero: Any = np.int64(0)
        own = thread * rows_at_once
        own_memory, z = flat_from(memory, own * (stride + width)), rows_at_once * stride
        index = flat_from(integers, len(integers) - (threads - thread) * rows_at_once)
        chunks = -(-rows // rows_at_once)
        while True:
            chunk = atomic_add(control, NEXT_GROUP, 1)
            if chunk >= chunks:
                break
            first = chunk * rows_at_once
            count = min(rows_at_once, rows - first)
            for i in range(count):
                index[i] = (first + i) * features
            convert_rows(
                *(count, features, flat(x), zero, index, own_memory, zero, stride),
                np.float32(0),
            )
            for strip in range(number):
                left = strip * width
                multiply(
                    *(zero + STRIP, count, own_memory, zero, stride, words, flat(packed)),
                    *(3 * number * width + strip * words * width, zero),
                    *(flat(packed), left, zero, own_memory, z),
                    *(number * width + left, 2 * number * width + left),
                )
                for i in range(count):
                    for v in range(STRIP):
                        at = left + v * lanes_of(memory)
                        columns = min(lanes_of(memory), units - at)
                        if columns > 0:
                            copy_row(
                                flat(out),
                                (first + i) * units + at,
                                own_memory,
                                z + i * width + v * lanes_of(memory),
                                columns,
                            )
            atomic_add(control, GROUPS_DONE, 1)
        if thread == 0:
            wait_for(control, GROUPS_DONE, chunks)
        return LEFT

    return dense


def dense(out: Array, x: Array, packed: Array, threads: int, format: Format) -> None:
    """out = x @ kernel + bias.

    Args:
        out: (N, U), float32, written.
        x: (N, F), float32.
        packed: from `dense_pack`, of the same format.
        threads: most threads.
        format: of the kernel.

    Raises:
        ValueError: `packed` does not fit.
    """
    (rows, features), units = x.shape, out.shape[1]
    size = dense_packed_size(features, units, format)
    if len(packed) != size:
        raise wrong_packed("dense_pack", features, units, size, len(packed))
    if not (rows and units):
        return
    schedule, provider = reserve(
        *(lambda _plan, _rank: 1, None, rows, rows, features, units, 1, 4, threads)
    )
    threads, width = schedule.threads, STRIP * lanes(np.float32)
    stride = stride_of(format, features, lanes(np.float32))
    memory = aligned_empty(threads * _ROWS * (stride + width), np.float32)
    integers = np.zeros(control_size(threads) + threads * _ROWS, np.int64)
    arguments = out, x, packed, memory, integers, threads
    run(_kernel(format).for_dtype(np.dtype(np.float32)), arguments, provider, integers)
