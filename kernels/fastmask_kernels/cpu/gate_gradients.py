"""One call of a recurrent layer's time loop backwards: its memory, its threads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..memory import aligned_empty
from ._compile import array, compiled, output
from .activations import CODES
from .atomics import atomic_add
from .backward import STRIP, Batch, Net, Scratch, retreat
from .batch import take_group
from .cell_gradients import PANEL
from .handoff import post, withdraw
from .sharing import ALONE_TO_THE_END, share
from .simd import flat, lanes, lanes_of
from .teamwork import GROUPS_DONE, NEXT_GROUP, Team, arrive, control_size, wait_for
from .threads import ALONE, reserve, run_shared

Array = NDArray[np.floating]
Ints = NDArray[np.int64]

INDEX_ROWS = 8  # index arrays of a thread, see `backward.Scratch`
_i8 = types.int64
_flag = types.boolean


class Cell(NamedTuple):
    """What the time loop has to know of a cell."""

    number: int  # as in `backward`
    first_gate: int  # of those in the first round's product
    parts: list[Array]  # (H, depth) each: the columns of the recurrent kernel for each round
    activation: str
    recurrent_activation: str


def pack_transposed(parts: list[Array]) -> Array:
    """U^T as the micro-kernel reads it: packed[part][panel][strip][row][unit].

    Args:
        parts: (H, depth) each: columns of the recurrent kernel, one part a round.
    """
    dtype, width = parts[0].dtype, STRIP * lanes(parts[0].dtype)
    units = len(parts[0])
    strips, full = panels_of(units, dtype) * (PANEL // STRIP), units // width
    packed = aligned_empty(sum(strips * width * part.shape[1] for part in parts), dtype)
    start = 0
    for part in parts:
        stop = start + strips * width * part.shape[1]
        blocks = packed[start:stop].reshape(strips, part.shape[1], width)
        start = stop
        whole, rest = part[: full * width], part[full * width :].T
        blocks[:full] = whole.reshape(full, width, part.shape[1]).transpose(0, 2, 1)
        blocks[full:] = 0
        blocks[full : full + 1, :, : rest.shape[1]] = rest
    return packed


def panels_of(units: int, dtype: Any) -> int:
    """Number of panels."""
    return -(-units // (PANEL * lanes(dtype)))


@compiled(
    lambda t: _i8(
        *(output(t, 2), output(t, 2), output(t, 2), output(t, 2), output(_i8, 2), output(_i8, 1)),
        *(array(t, 3), array(t, 2), array(t, 2), array(t, 2), array(_i8, 1), array(_i8, 2)),
        *(array(t, 1), _i8, _i8, _i8, _i8, _i8, _i8, _flag, _flag, _i8, _i8, _i8),
        *(output(_i8, 1), _i8, _i8),
    )
)
def _work(
    gates: Any,
    dh_first: Any,
    carry: Any,
    z: Any,
    indices: Any,
    control: Any,
    dout: Any,
    dh_last: Any,
    states: Any,
    first_states: Any,
    steps: Any,
    ranks: Any,
    packed: Any,
    time: int,
    cell: int,
    first_gate: int,
    depth: int,
    activation: int,
    recurrent_activation: int,
    reverse: bool,
    zero_masked: bool,
    members: int,
    groups: int,
    join: int,
    board: Any,
    slot: int,
    member: int,
) -> int:
    """One thread's part: what is done together first; then groups of rows, each alone."""
    if post(board, slot, control, members, member):
        return int(withdraw(board, slot, member))
    arrive(control, member)
    rows, units = dh_first.shape
    join = min(join, ranks[2, 0])
    stride = carry.shape[1]
    batch = Batch(
        time,
        units,
        gates.shape[1],
        dout.shape[1] > 0,
        flat(gates),
        flat(dh_first),
        flat(dout),
        flat(dh_last),
        flat(states),
        flat(first_states),
        flat(steps),
        flat(ranks[0]),
        flat(ranks[1]),
        flat(ranks[2]),
        reverse,
        zero_masked,
    )
    panels = -(-units // (PANEL * lanes_of(gates)))
    net = Net(
        cell,
        flat(packed),
        flat(carry),
        panels,
        first_gate,
        depth,
        activation,
        recurrent_activation,
    )
    own = INDEX_ROWS * member
    scratch = Scratch(
        flat(z[member]),
        flat(indices[own]),
        flat(indices[own + 1]),
        flat(indices[own + 2]),
        flat(indices[own + 3]),
        flat(indices[own + 4]),
        flat(indices[own + 5]),
        flat(indices[own + 6]),
        flat(indices[own + 7]),
    )
    counters = flat(control)
    zero: Any = np.int64(0)  # of the other branch's type
    one: Any = np.int64(1)
    together = True
    while True:
        if together:
            team = Team(counters, scratch.z, member, members)
            group, shares = zero, one
            k, end = ranks[2, 0], join if groups > 0 else zero - 1
        else:
            team = Team(counters, scratch.z, zero, one)
            group, shares = atomic_add(counters, NEXT_GROUP, 1), groups
            if group >= groups:
                break
            k, end = join, zero - 1
        taken = take_group(scratch, rows, group, shares, stride)
        if not retreat(batch, net, scratch, team, taken, k, end):
            return int(withdraw(board, slot, member))  # groups begin when the common steps are done
        if not together:
            atomic_add(counters, GROUPS_DONE, 1)
        together = False
    wait_for(counters, GROUPS_DONE, groups)
    return int(withdraw(board, slot, member))


def gate_gradients(
    gates: Array,
    dh_first: Array,
    carry: Array | None,
    cell: Cell,
    dout: Array,
    dh_last: Array,
    states: Array,
    first_states: Array,
    steps: Ints,
    ranks: Ints,
    time: int,
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """Turn gates into their gradients, and find the gradients of the first state.

    Args:
        gates: (P, width): activated gates in, gradients of what they were applied to out.
        dh_first: (B, H), written.
        carry: (B, H), what is carried from step to step besides gradients of gates: dc of
            an LSTM, of its last state in, of its first state out. None for other cells.
        cell: which cell, and its recurrent weights.
        dout: (B, T or 0, H), see `spec`.
        dh_last: (B, H).
        states: (P, H): c of an LSTM, else h, after each step.
        first_states: (B, H).
        steps: (P,), see `spec`.
        ranks: see `ranks.ranks_of`.
        time: T.
        reverse: see `spec`.
        zero_masked: see `spec`.
        threads: how many may take part.
    """
    rows, units = dh_first.shape
    dtype = gates.dtype
    if not rows * units:
        return
    width = lanes(dtype)
    depth = sum(part.shape[1] for part in cell.parts)
    order, counts = ranks[0], ranks[2]
    shares = share(
        *(counts.item, rows, len(gates), 0, units, depth // units, dtype.itemsize, threads)
    )
    members = shares.members
    stride = -(-units // width) * width
    carried = np.zeros((rows, stride), dtype)
    carried[:, :units] = (dh_last if carry is None else carry)[order]
    z_size = rows * PANEL * width
    z = aligned_empty(members * z_size, dtype).reshape(members, z_size)
    indices = np.empty((members * INDEX_ROWS, max(rows, 2)), np.int64)
    control = np.zeros(control_size(members), np.int64)
    packed = pack_transposed(cell.parts)
    work = _work.for_dtype(dtype)
    # From here to the call nothing may fail: the slot would be lost.
    start = reserve(members, shares.patient)
    if start == ALONE:
        shares = ALONE_TO_THE_END
    arguments = (
        *(gates, dh_first, carried, z, indices, control, dout, dh_last, states, first_states),
        *(steps, ranks, packed, time, cell.number, cell.first_gate),
        *(cell.parts[0].shape[1], CODES[cell.activation], CODES[cell.recurrent_activation]),
        *(reverse, zero_masked, *shares[:3]),
    )
    run_shared(work, arguments, start, control)
    if carry is not None:
        carry[order] = carried[:, :units]
