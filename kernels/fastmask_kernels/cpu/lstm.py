"""LSTM over the valid steps of a batch; `recurrent` says how."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from .._checked import checked
from ..memory import aligned_empty
from ._compile import array, compiled, inner, output
from .activations import CODES
from .atomics import atomic_add
from .gemm import PANEL_VECTORS
from .packing import Array, pack, packed_size, panels_of
from .recurrent import BLOCK_ROWS, Batch, Net, Scratch, advance, take_group
from .sharing import share
from .simd import flat, lanes, lanes_of
from .teamwork import CLAIMS, GROUPS_DONE, NEXT_GROUP, Team, wait_for_groups
from .threads import run_shared

Ints = NDArray[np.int64]

GATES = 4
INDEX_ROWS = 7  # index arrays of a thread, see `recurrent.Scratch`
_i8 = types.int64
_flag = types.boolean


def lstm_packed_size(features: int, units: int, dtype: Any) -> int:
    """Length of `packed`."""
    return packed_size(GATES, features, units, dtype)


@checked
def lstm_pack(packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """See `spec`."""
    pack(packed, GATES, kernel, recurrent_kernel, bias)


@inner
def _gate_sizes(rows: int, panels: int, lanes: int) -> tuple[int, int]:
    """Room for the gates of one panel, and of all panels for a block of steps."""
    width = PANEL_VECTORS * lanes
    return rows * width, panels * 2 * BLOCK_ROWS * width


_PLAN_FAULTS = (
    "",
    "offsets must begin with 0, not decrease, and end within steps",
    "order must name every row once",
    "order must name the rows with most valid steps first",
    "steps must ascend within each row's positions",
)


@compiled(
    lambda t: _i8(
        *(output(t, 3), output(t, 2), output(t, 2), output(_i8, 2), output(t, 1)),
        *(array(_i8, 1), array(_i8, 1), array(_i8, 1), array(t, 2), array(t, 2), _i8),
    )
)
def _begin(
    out: Any,
    h_last: Any,
    c_last: Any,
    ranks: Any,
    state: Any,
    offsets: Any,
    steps: Any,
    order: Any,
    h_first: Any,
    c_first: Any,
    time: int,
) -> int:
    """Set out the plan by rank, the first state, and rows without steps; 0 for a sound plan."""
    rows, units = h_first.shape
    stride = -(-units // lanes_of(state)) * lanes_of(state)
    row_of, first_of, count_of, seen = ranks[0], ranks[1], ranks[2], ranks[3]
    if offsets[0] != 0 or offsets[rows] > len(steps):
        return 1
    for row in range(rows):
        seen[row] = 0
        if offsets[row + 1] < offsets[row]:
            return 1
    for rank in range(rows):
        row = order[rank]
        if row < 0 or row >= rows or seen[row] != 0:
            return 2
        seen[row] = 1
        first, count = offsets[row], offsets[row + 1] - offsets[row]
        if rank > 0 and count > count_of[rank - 1]:
            return 3
        row_of[rank], first_of[rank], count_of[rank] = row, first, count
        before = row * time - 1
        for step in range(first, first + count):
            if steps[step] <= before:
                return 4
            before = steps[step]
        if before >= (row + 1) * time:
            return 4
        h, c = rank * stride, (2 * rows + rank) * stride
        for unit in range(stride):
            inside = unit < units
            state[h + unit] = h_first[row, unit] if inside else 0
            state[c + unit] = c_first[row, unit] if inside else 0
        if count == 0:
            for unit in range(units):
                h_last[row, unit] = h_first[row, unit]
                c_last[row, unit] = c_first[row, unit]
            for position in range(out.shape[1]):
                for unit in range(units):
                    out[row, position, unit] = 0
    return 0


@compiled(
    lambda t: types.void(
        *(output(t, 3), output(t, 2), output(t, 2), output(t, 1), output(t, 1)),
        *(output(_i8, 2), output(_i8, 1)),
        *(array(t, 3), array(_i8, 1), array(_i8, 2), array(t, 1)),
        *(_i8, _i8, _flag, _flag, _i8, _i8, _i8, _i8),
    )
)
def _work(
    out: Any,
    h_last: Any,
    c_last: Any,
    state: Any,
    gates: Any,
    indices: Any,
    control: Any,
    x: Any,
    steps: Any,
    ranks: Any,
    packed: Any,
    activation: int,
    recurrent_activation: int,
    reverse: bool,
    zero_masked: bool,
    members: int,
    groups: int,
    join: int,
    member: int,
) -> None:
    """One thread's part: groups of rows first, each alone; then, together, what is left."""
    rows, time, features = x.shape
    units = h_last.shape[1]
    panels = -(-units // lanes_of(state))
    stride = panels * lanes_of(state)
    plane = rows * stride
    z_size, block_size = _gate_sizes(rows, panels, lanes_of(state))
    blocks = members * z_size
    z = gates[member * z_size : blocks]
    own_block = gates[blocks + member * block_size :]
    shared_block = gates[blocks + members * block_size :]
    batch = Batch(
        time,
        features,
        units,
        out.shape[1] > 0,
        flat(out),
        flat(h_last),
        flat(c_last),
        flat(x),
        flat(steps),
        flat(ranks[0]),
        flat(ranks[1]),
        flat(ranks[2]),
        reverse,
        zero_masked,
    )
    net = Net(
        flat(packed),
        flat(state),
        flat(state[2 * plane :]),
        panels,
        plane,
        activation,
        recurrent_activation,
    )
    own = INDEX_ROWS * member
    scratch = Scratch(
        flat(z),
        flat(indices[own]),
        flat(indices[own + 1]),
        flat(indices[own + 2]),
        flat(indices[own + 3]),
        flat(indices[own + 4]),
        flat(indices[own + 5]),
        flat(indices[own + 6]),
    )
    counters = flat(control)
    zero: Any = np.int64(0)  # of the other branch's type
    together = False
    while not together:
        group = atomic_add(counters, NEXT_GROUP, 1)
        together = group >= groups
        if together:
            wait_for_groups(counters, groups)
            group, groups = zero, zero + 1
            team = Team(counters, flat(shared_block), member, members)
            k, end = join, ranks[2, 0]
        else:
            team = Team(counters, flat(own_block), zero, zero + 1)
            k, end = zero, join
        taken = take_group(scratch, rows, group, groups, stride)
        advance(batch, net, scratch, team, taken, k, end)
        if not together:
            atomic_add(counters, GROUPS_DONE, 1)


def cache_folder() -> str | None:
    """Where compiled kernels are kept between processes; None where no folder can be written."""
    return _work.cache_folder


@checked
def lstm_fwd(
    out: Array,
    h_last: Array,
    c_last: Array,
    h_steps: Array,
    c_steps: Array,
    gates: Array,
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
    """See `spec`. Fastest when `packed` begins on a cache line (see `memory`)."""
    rows, time, features = x.shape
    units, dtype = h_first.shape[1], x.dtype
    if len(packed) != lstm_packed_size(features, units, dtype):
        raise ValueError(f"packed must come from lstm_pack for {features} features, {units} units")
    if len(h_steps) or len(gates):
        raise ValueError("h_steps, c_steps and gates must be empty: nothing can be saved yet")
    panels, width = panels_of(units, dtype), lanes(dtype)
    plane = rows * panels * width
    state = aligned_empty(3 * plane, dtype)
    ranks = np.empty((4, rows), np.int64)
    fault = _begin.for_dtype(dtype)(
        out, h_last, c_last, ranks, state, offsets, steps, order, h_first, c_first, time
    )
    if fault:
        raise ValueError(f"offsets, steps and order are no plan: {_PLAN_FAULTS[fault]}")
    if not (plane and offsets[rows]):
        return
    steps_done = int(offsets[rows])
    shares = share(ranks[2], steps_done, features, units, GATES, dtype.itemsize, threads)
    members = shares.members
    z_size, block_size = _gate_sizes.py_func(rows, panels, width)
    z = aligned_empty(members * z_size + (members + 1) * block_size, dtype)
    indices = np.empty((members * INDEX_ROWS, max(rows, 2 * BLOCK_ROWS)), np.int64)
    control = np.zeros(CLAIMS + panels, np.int64)
    arguments = (
        *(out, h_last, c_last, state, z, indices, control, x, steps, ranks, packed),
        *(CODES[activation], CODES[recurrent_activation], reverse, zero_masked, *shares),
    )
    run_shared(_work.for_dtype(dtype), arguments, members, control)
