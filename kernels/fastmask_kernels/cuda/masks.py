"""Masks and their plans on the device.

A plan takes four launches and B + T words of scratch; the host never waits:

    clear    the histogram of lengths
    count    a warp counts the steps of a row by ballot: offsets[b + 1], and one in the histogram
    scan     one block replaces the counts by their running sum, another block the histogram
    place    a warp writes a row's steps to their places, again by ballot; other warps write rows
             to where the histogram says that rows of their length begin

The order is a stable counting sort. To keep rows of equal length in order, each warp sorts its own
part of the rows from the first to the last, with a histogram of its own. A part has at least T + 1
rows, so that all histograms together take no more than B + T words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.types import int32, int64, uint8, uint32

from ..bits import pattern_of
from .ops import inlined
from .runtime import kernel as _kernel
from .runtime import ptx as ptx
from .runtime.checks import checked
from .runtime.device import DeviceArray, empty
from .runtime.kernel import WARP, Kernel, family, kernel, number, pointer, single, span

_FULL = np.uint32(0xFFFFFFFF)


@checked
def mask_not_equal(valid: Any, ids: Any, value: float) -> None:
    """See `spec`; a value between two floats counts as the nearer one."""
    _compare(valid, ids, pattern_of(ids.dtype, value, "ids"))


@checked
def mask_any_not_equal(valid: Any, x: Any, value: float) -> None:
    """See `spec`; a value between two floats counts as the nearer one."""
    features = x.shape[2]
    pattern = pattern_of(x.dtype, value, "x")
    if features == 0:
        fill(valid, 0)
    elif features == 1 or pattern is None:
        _compare(valid, x, pattern)
    else:
        lanes = _kernel.lanes_for(features)
        sizes, grid = (valid.size, features, lanes), span(valid.size, lanes)
        _any_not_equal(pattern.dtype).launch(*grid, valid, x, sizes, tuple(pattern.tolist()))


@checked
def mask_from_lengths(valid: Any, lengths: Any, pre: bool) -> None:
    """See `spec`; lengths outside 0 to T count as the nearer of the two."""
    rows, time = valid.shape
    _from_lengths.launch(*_kernel.span_rows(time, rows), valid, lengths, rows, time, bool(pre))


@checked
def plan_steps(offsets: Any, steps: Any, order: Any, valid: Any) -> None:
    """See `spec`; steps from offsets[B] on are left unchanged."""
    if steps.size < valid.size:
        raise ValueError(f"steps must have room for {valid.size} steps, not {steps.size}")
    rows, time = valid.shape
    parts = max(rows // (time + 1), 1)
    in_part = -(-rows // parts)
    lengths = (time + 1) * parts
    starts = empty(lengths + 1, np.int64, offsets.device)
    fill(starts, 0)
    sizes = rows, time, in_part, parts
    _count.launch(*span(rows, WARP), offsets, starts, valid, sizes)
    scanning = _kernel.threads_for(max(rows, lengths), _kernel.LARGE_BLOCK)
    _scan.launch(2, scanning, offsets, rows, starts, lengths)
    if rows:
        grid = span(rows + parts, WARP)
        _place.launch(*grid, steps, order, starts, offsets, valid, sizes)


def _compare(valid: DeviceArray, x: DeviceArray, pattern: Any) -> None:
    """valid = x differs from the pattern, item by item; everywhere if there is no pattern."""
    if pattern is None:
        fill(valid, 1)
        return
    compare = _not_equal(pattern.dtype)
    compare.launch(*span(valid.size), valid, x, valid.size, tuple(pattern.tolist()))


def fill(array: DeviceArray, value: int = 0) -> None:
    """Set all bytes to one value."""
    size = 1 if array.nbytes % 4 else 4
    count, word = array.nbytes // size, value * (0x1010101 if size == 4 else 1)
    _filler(np.dtype(f"u{size}")).launch(*span(count), array, count, word)


@family("u1", "u4")
def _filler(dtype: np.dtype[Any]) -> Kernel:
    word = number(dtype)

    @kernel(pointer(word), int64, word)
    def filled(array: Any, count: int, value: int) -> None:
        i = cuda.grid(1)
        while i < count:
            array[i] = value
            i += cuda.gridsize(1)

    return filled


@inlined
def _differs(item: Any, pattern: Any) -> Any:
    """Whether an item differs from the pattern, see `bits`."""
    keep, bits, some = pattern
    return (item & keep) != bits or (some != 0 and (item & some) == 0)


@family("u1", "u2", "u4", "u8")
def _not_equal(dtype: np.dtype[Any]) -> Kernel:
    word = number(dtype)

    @kernel(pointer(uint8), pointer(word), int64, (word, word, word))
    def not_equal(valid: Any, x: Any, count: int, pattern: Any) -> None:
        i = cuda.grid(1)
        while i < count:
            valid[i] = _differs(x[i], pattern)
            i += cuda.gridsize(1)

    return not_equal


@family("u1", "u2", "u4", "u8")
def _any_not_equal(dtype: np.dtype[Any]) -> Kernel:
    word = number(dtype)

    # `lanes` lanes share a step. They are a whole warp if a step takes several rounds, so the
    # lanes of a warp always agree on the number of rounds, as a ballot requires.
    @kernel(pointer(uint8), pointer(word), (int64, int64, int32), (word, word, word))
    def any_not_equal(valid: Any, x: Any, sizes: Any, pattern: Any) -> None:
        steps, features, lanes = sizes
        lane = cuda.laneid & (lanes - 1)
        first = cuda.laneid - lane  # of the lanes that share the step
        group = _FULL >> uint32(WARP - lanes) << uint32(first)
        at_once = cuda.gridsize(1) // lanes
        rounds = (steps + at_once - 1) // at_once
        step = cuda.grid(1) // lanes
        for _ in range(rounds):
            differs = 0
            f = 0
            while f < features and not differs:
                mine = False
                if step < steps and f + lane < features:
                    mine = _differs(x[step * features + f + lane], pattern)
                differs = cuda.ballot_sync(_FULL, mine) & group
                f += lanes
            if lane == 0 and step < steps:
                valid[step] = differs != 0
            step += at_once

    return any_not_equal


@single(pointer(uint8), pointer(int64), int64, int64, int32)
def _from_lengths(valid: Any, lengths: Any, rows: int, time: int, pre: int) -> None:
    b = cuda.blockIdx.y
    while b < rows:
        length = min(max(lengths[b], 0), time)
        edge = time - length if pre else length
        t = cuda.grid(1)
        while t < time:
            valid[b * time + t] = (t >= edge) if pre else (t < edge)
            t += cuda.gridsize(1)
        b += cuda.gridDim.y


@single(pointer(int64), pointer(int64), pointer(uint8), (int64,) * 4)
def _count(offsets: Any, starts: Any, valid: Any, sizes: Any) -> None:
    rows, time, in_part, parts = sizes
    lane = cuda.laneid
    b = cuda.grid(1) // WARP
    while b < rows:
        total = 0
        first = 0
        while first < time:
            t = first + lane
            exists = t < time and valid[b * time + t] != 0
            total += cuda.popc(cuda.ballot_sync(_FULL, exists))
            first += WARP
        if lane == 0:
            offsets[b + 1] = total
            bin = (time - total) * parts + b // in_part
            ptx.add_to(ptx.global_address(starts, bin + 1), 1)
        b += cuda.gridsize(1) // WARP


# One block per array, whose first entry becomes 0. `sums` holds the totals of the block's warps,
# at most 32.
@single(pointer(int64), int64, pointer(int64), int64)
def _scan(offsets: Any, rows: int, starts: Any, lengths: int) -> None:
    sums = cuda.shared.array(WARP, int64)
    thread, threads, lane = cuda.threadIdx.x, cuda.blockDim.x, cuda.laneid
    warp, warps = thread // WARP, threads // WARP
    counts, size = offsets, rows
    if cuda.blockIdx.x == 1:
        counts, size = starts, lengths
    before = 0
    if thread == 0:
        counts[0] = 0
    first = 0
    while first < size:
        i = first + thread
        total = counts[i + 1] if i < size else 0
        distance = 1
        while distance < WARP:
            other = cuda.shfl_up_sync(_FULL, total, distance)
            if lane >= distance:
                total += other
            distance *= 2
        if lane == WARP - 1:
            sums[warp] = total
        cuda.syncthreads()
        for w in range(warps):
            if w < warp:
                total += sums[w]
        if i < size:
            counts[i + 1] = before + total
        for w in range(warps):
            before += sums[w]
        cuda.syncthreads()
        first += threads


# starts[bin]: where the next row of the bin goes; the warp that has the part advances it.
@single(*(pointer(int64),) * 4, pointer(uint8), (int64,) * 4)
def _place(steps: Any, order: Any, starts: Any, offsets: Any, valid: Any, sizes: Any) -> None:
    rows, time, in_part, parts = sizes
    lane = cuda.laneid
    task = cuda.grid(1) // WARP
    while task < parts:  # first, as they take longest
        first = task * in_part
        end = min(first + in_part, rows)
        while first < end:
            b = first + lane
            length = int64(-1)
            if b < end:
                length = offsets[b + 1] - offsets[b]
            rank = 0
            alike = 0
            for other in range(WARP):
                if cuda.shfl_sync(_FULL, length, other) == length:
                    alike += 1
                    if other < lane:
                        rank += 1
            bin = (time - length) * parts + task
            start = int64(0)
            if b < end:
                start = starts[bin]
                order[start + rank] = b
            cuda.syncwarp()
            if b < end and rank == alike - 1:
                starts[bin] = start + alike
            cuda.syncwarp()
            first += WARP
        task += cuda.gridsize(1) // WARP
    while task < parts + rows:
        b = task - parts
        position = offsets[b]
        first = 0
        while first < time:
            t = first + lane
            exists = t < time and valid[b * time + t] != 0
            present = cuda.ballot_sync(_FULL, exists)
            if exists:
                steps[position + cuda.popc(present & ((1 << lane) - 1))] = b * time + t
            position += cuda.popc(present)
            first += WARP
        task += cuda.gridsize(1) // WARP
