"""LSTM over the valid steps of a batch; `recurrent` says how."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from .._checked import checked
from ._compile import array, compiled, output
from .activations import CODES
from .gemm import PANEL_VECTORS
from .recurrent import (
    ABORTED,
    BLOCK_ROWS,
    CLAIMS,
    GROUPS_DONE,
    NEXT_GROUP,
    Batch,
    Net,
    Scratch,
    Team,
    advance,
    take_group,
    wait_for_groups,
)
from .atomics import atomic_add
from .simd import VECTOR_BYTES, flat, lanes, lanes_of
from .threads import run_shared

Array = NDArray[np.floating]
Ints = NDArray[np.int64]

_i8 = types.int64
GATES = 4


def _panels(units: int, dtype: Any) -> int:
    return -(-units // lanes(dtype))


def lstm_packed_size(features: int, units: int, dtype: Any) -> int:
    """Length of `packed`."""
    return _panels(units, dtype) * (1 + features + units) * GATES * lanes(dtype)


@compiled(lambda t: types.void(output(t, 1), array(t, 2), array(t, 2), array(t, 1)))
def _pack(packed: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> None:
    """packed[panel][bias, kernel rows, recurrent rows][gate][unit of the panel]"""
    features, units = len(kernel), len(recurrent_kernel)
    width = VECTOR_BYTES // packed.itemsize
    at = 0
    for left in range(0, units, width):
        for row in range(1 + features + units):
            for gate in range(GATES):
                for column in range(width):
                    unit = gate * units + left + column
                    value = packed.dtype.type(0)
                    if left + column < units:
                        if row == 0:
                            value = bias[unit]
                        elif row <= features:
                            value = kernel[row - 1, unit]
                        else:
                            value = recurrent_kernel[row - 1 - features, unit]
                    packed[at] = value
                    at += 1


@checked
def lstm_pack(packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """See `spec`."""
    size = lstm_packed_size(len(kernel), len(recurrent_kernel), packed.dtype)
    if len(packed) != size:
        raise ValueError(f"packed must have lstm_packed_size = {size} elements, not {len(packed)}")
    _pack.for_dtype(packed.dtype)(packed, kernel, recurrent_kernel, bias)


@compiled(
    lambda t: _i8(
        *(output(t, 3), output(t, 2), output(t, 2)),
        *(array(_i8, 1), array(_i8, 1), array(_i8, 1), array(t, 2), array(t, 2)),
        *(output(_i8, 2), output(t, 1), output(t, 1), _i8),
    )
)
def _begin(
    out, h_last, c_last, offsets, steps, order, h_first, c_first, ranks, h, c, time
):
    """Set the plan out by rank and the state to its first value; returns 0 for a sound plan."""
    rows, units = h_last.shape
    stride = len(c) // max(rows, 1)
    for rank in range(rows):
        ranks[3, rank] = 0
    if offsets[0] != 0 or offsets[rows] > len(steps):
        return 1
    for rank in range(rows):
        row = order[rank]
        if row < 0 or row >= rows or ranks[3, row] != 0:
            return 2
        ranks[3, row] = 1
        first, count = offsets[row], offsets[row + 1] - offsets[row]
        if count < 0 or (rank > 0 and count > ranks[2, rank - 1]):
            return 3
        ranks[0, rank], ranks[1, rank], ranks[2, rank] = row, first, count
        previous = row * time - 1
        for step in range(first, first + count):
            if steps[step] <= previous:
                return 4
            previous = steps[step]
        if previous >= (row + 1) * time:
            return 4
        for unit in range(stride):
            inside = unit < units
            h[rank * stride + unit] = h_first[row, unit] if inside else 0
            c[rank * stride + unit] = c_first[row, unit] if inside else 0
        if count == 0:
            for unit in range(units):
                h_last[row, unit] = h_first[row, unit]
                c_last[row, unit] = c_first[row, unit]
            for position in range(out.shape[1]):
                for unit in range(units):
                    out[row, position, unit] = 0
    return 0


_PLAN_ERRORS = {
    1: "offsets must begin with 0 and end within steps",
    2: "order must name every row once",
    3: "order must name the rows with most valid steps first, and offsets must not decrease",
    4: "steps must ascend within each row's positions",
}


@compiled(
    lambda t: types.void(
        *(output(t, 3), output(t, 2), output(t, 2), array(t, 3), array(_i8, 1)),
        *(output(_i8, 2), output(t, 1), output(t, 1), array(t, 1)),
        *(output(t, 2), output(t, 2), output(_i8, 3), output(_i8, 1)),
        *(_i8, _i8, types.boolean, types.boolean, _i8, _i8, _i8, _i8),
    )
)
def _work(
    out, h_last, c_last, x, steps, ranks, h, c, packed,
    z, block_z, indices, control,
    activation, recurrent_activation, reverse, zero_masked, member, members, groups, join,
):
    """One thread's part."""
    rows, time, features = x.shape
    units = h_last.shape[1]
    stride = len(c) // rows
    batch = Batch(
        time, features, units, out.shape[1] > 0,
        flat(out), flat(h_last), flat(c_last), flat(x),
        flat(steps), flat(ranks[0]), flat(ranks[1]), flat(ranks[2]), reverse, zero_masked,
    )
    net = Net(
        flat(packed), flat(h), flat(c), stride // lanes_of(z), len(c),
        activation, recurrent_activation,
    )
    m = indices[member]
    scratch = Scratch(
        flat(z[member]), flat(m[0]), flat(m[1]), flat(m[2]), flat(m[3]), flat(m[4]), flat(m[5]),
        flat(m[6]),
    )
    counters = flat(control)
    longest = ranks[2, 0]
    while True:
        # Groups of rows first, each alone; then, together, what is left of all rows.
        group = atomic_add(counters, NEXT_GROUP, 1)
        together = group >= groups
        if together:
            wait_for_groups(counters, groups)
            if join >= longest:
                break
            group, groups = np.int64(0), np.int64(1)
            team = Team(counters, flat(block_z[members]), member, members)
            k, end = join, longest
        else:
            team = Team(counters, flat(block_z[member]), np.int64(0), np.int64(1))
            k, end = np.int64(0), min(join, longest)
        taken = take_group(scratch, rows, group, groups, stride)
        advance(batch, net, scratch, team, taken, k, end)
        if together:
            break
        atomic_add(counters, GROUPS_DONE, 1)


def _aligned(size: int, dtype: Any) -> NDArray[Any]:
    """Uninitialised memory that begins on a cache line."""
    memory = np.empty(size * dtype.itemsize + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size * dtype.itemsize].view(dtype)


@checked
def lstm_fwd(
    out: Array,
    h_last: Array,
    c_last: Array,
    x: Array,
    offsets: Ints,
    steps: Ints,
    order: Ints,
    packed: Array,
    h_first: Array,
    c_first: Array,
    activation: str,
    recurrent_activation: str,
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """See `spec`."""
    rows, time, features = x.shape
    units = h_first.shape[1]
    dtype = x.dtype
    if len(packed) != lstm_packed_size(features, units, dtype):
        raise ValueError("packed must come from lstm_pack of weights of these sizes")
    if out.shape[1] not in (0, time):
        raise ValueError(f"out must have {time} or 0 time steps, not {out.shape[1]}")
    panels = _panels(units, dtype)
    width = GATES * lanes(dtype)
    stride = panels * lanes(dtype)
    h, c = _aligned(2 * rows * stride, dtype), _aligned(rows * stride, dtype)
    ranks = np.empty((4, rows), np.int64)
    error = _begin.for_dtype(dtype)(
        out, h_last, c_last, offsets, steps, order, h_first, c_first, ranks, h, c, time
    )
    if error:
        raise ValueError(f"not a plan of this batch: {_PLAN_ERRORS[error]}")
    if rows == 0 or units == 0 or ranks[2, 0] == 0:
        return
    members, groups, join = _share(ranks[2], features, units, panels, threads)
    z = _aligned(members * rows * width, dtype).reshape(members, -1)
    block_z = _aligned((members + 1) * panels * 2 * BLOCK_ROWS * width, dtype)
    block_z = block_z.reshape(members + 1, -1)
    indices = np.empty((members, 7, max(rows, 2 * BLOCK_ROWS)), np.int64)
    control = np.zeros(CLAIMS + panels, np.int64)
    codes = CODES[activation], CODES[recurrent_activation]
    work = _work.for_dtype(dtype)
    arguments = (
        out, h_last, c_last, x, steps, ranks, h, c, packed, z, block_z, indices, control,
        *codes, reverse, zero_masked,
    )
    if members == 1:
        work(*arguments, 0, 1, groups, join)
    else:
        run_shared(lambda member: work(*arguments, member, members, groups, join), members)


def _share(counts, features, units, panels, threads):
    """(members, groups, join): who takes part, and how the work is dealt."""
    import os
    rows = len(counts)
    longest = int(counts[0])
    if 'FM_JOIN' in os.environ: 
        j=int(os.environ['FM_JOIN']); g=int(os.environ.get('FM_GROUPS','2'))
        if j==-1: j=longest
        elif j==-2:
            n=int(os.environ['FM_ROWS']); j=int(counts[n]) if n<rows else 0
        return threads, g, j
    work = int(counts.sum()) * 8 * units * (features + units)
    if threads == 1 or work < 10_000_000:
        return 1, 1, longest
    return threads, threads, longest
