"""One call of a recurrent layer's time loop backwards: its memory, its threads."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ...memory import aligned_empty
from ..jit import array, compiled, output
from ..parallel.atomics import atomic_add
from ..parallel.barrier import GROUPS_DONE, NEXT_GROUP, Team, arrive, control_size, wait_for
from ..parallel.pool import run_shared, who_helps
from ..parallel.queue import ALONE, LEFT, UNSHARED, post
from ..parallel.schedule import ALONE_TO_THE_END, Shares, share
from ..simd import flat, flat_from, lanes, lanes_of
from .activations import CODES
from .backward import STRIP, Batch, Net, Scratch, retreat
from .cell_gradients import PANEL
from .groups import Groups, deal, take_group
from .ranks import length_of_rank

Array = NDArray[np.floating]
Ints = NDArray[np.int64]

INDEX_ROWS = 10  # index arrays of a thread, see `backward.Scratch`
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
        *(output(t, 2), output(t, 2), output(t, 2), output(t, 1), output(t, 1), output(_i8, 1)),
        *(output(_i8, 1), array(t, 3), array(t, 2), array(t, 2), array(t, 2), array(t, 2)),
        *(array(_i8, 1), array(_i8, 1), array(_i8, 1), array(t, 1), _i8, _i8, _i8, _i8, _i8, _i8),
        *(_flag, _flag, _i8, _i8, types.UniTuple(_i8, len(Groups._fields))),
        *(output(_i8, 1), _i8, _i8),
    )
)
def _work(
    gates: Any,
    dh_first: Any,
    dc_first: Any,
    carry: Any,
    z: Any,
    indices: Any,
    control: Any,
    dout: Any,
    dh_last: Any,
    carry_last: Any,
    states: Any,
    first_states: Any,
    offsets: Any,
    steps: Any,
    order: Any,
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
    join: int,
    dealt: Any,
    board: Any,
    help_from: int,
    member: int,
) -> int:
    """One thread's part: what is done together first; then groups of rows, each alone."""
    groups = Groups(dealt[0], dealt[1], dealt[2], dealt[3], dealt[4])
    rows, units = dh_first.shape
    stride = -(-units // lanes_of(gates)) * lanes_of(gates)
    longest = offsets[order[0] + 1] - offsets[order[0]]
    join = min(join, longest)
    batch = Batch(
        time,
        units,
        gates.shape[1],
        dout.shape[1] > 0,
        flat(gates),
        flat(dh_first),
        flat(dc_first),
        flat(dout),
        flat(dh_last),
        flat(carry_last),
        flat(states),
        flat(first_states),
        flat(steps),
        flat(offsets),
        flat(order),
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
    entries = max(groups.rows, groups.common)
    own = INDEX_ROWS * member * entries
    scratch = Scratch(
        flat_from(z, member * entries * PANEL * lanes_of(gates)),
        flat_from(indices, own),
        flat_from(indices, own + entries),
        flat_from(indices, own + 2 * entries),
        flat_from(indices, own + 3 * entries),
        flat_from(indices, own + 4 * entries),
        flat_from(indices, own + 5 * entries),
        flat_from(indices, own + 6 * entries),
        flat_from(indices, own + 7 * entries),
        flat_from(indices, own + 8 * entries),
        flat_from(indices, own + 9 * entries),
    )
    zero: Any = np.int64(0)  # of the other branch's type
    one: Any = np.int64(1)
    ended = post(board, help_from, control, members, member)
    if ended != UNSHARED:
        return int(ended)
    arrive(control, member)
    counters = flat(control)
    own_groups = groups.number if groups.rows > 0 else zero
    group, together = groups.number, True
    while group < own_groups or together:
        if together:
            team = Team(counters, scratch.z, member, members)
            k, end = longest, join if groups.rows > 0 else zero - 1
        else:
            team = Team(counters, scratch.z, zero, one)
            k, end = join, zero - 1
        taken = take_group(batch, scratch, groups, group, rows, member, stride)
        if not retreat(batch, net, scratch, team, taken, k, end):
            return LEFT  # groups begin when the common steps are done
        if not together:
            atomic_add(counters, GROUPS_DONE, 1)
        group, together = atomic_add(counters, NEXT_GROUP, 1), False
    wait_for(counters, GROUPS_DONE, own_groups)
    return LEFT


def gate_gradients(
    gates: Array,
    dh_first: Array,
    dc: tuple[Array, Array] | None,
    cell: Cell,
    dout: Array,
    dh_last: Array,
    states: Array,
    first_states: Array,
    plan: tuple[Ints, Ints, Ints],
    time: int,
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """Turn gates into their gradients, and find the gradients of the first state.

    Args:
        gates: (P, width): activated gates in, gradients of what they were applied to out.
        dh_first: (B, H), written.
        dc: dc_first, written, and dc_last of an LSTM, (B, H) each; None for other cells.
        cell: which cell, and its recurrent weights.
        dout: (B, T or 0, H), see `spec`.
        dh_last: (B, H).
        states: (P, H): c of an LSTM, else h, after each step.
        first_states: (B, H).
        plan: offsets, steps, order, which have been checked.
        time: T.
        reverse: see `spec`.
        zero_masked: see `spec`.
        threads: how many may take part.
    """
    rows, units = dh_first.shape
    dtype = gates.dtype
    if not rows * units:
        return
    depth = sum(part.shape[1] for part in cell.parts)
    length = partial(length_of_rank, plan)
    shares = share(*(length, rows, len(gates), 0, units, depth // units, dtype.itemsize, threads))
    help_from = who_helps(shares.members, shares.patient)
    if help_from == ALONE and shares.members > 1:
        shares = ALONE_TO_THE_END
    groups, *scratch = _scratch(rows, units, dtype, shares)
    control = np.zeros(control_size(shares.members), np.int64)
    packed = pack_transposed(cell.parts)
    work = _work.for_dtype(dtype)
    dc_first, carry_last = (dh_first[:, :0], dh_last) if dc is None else dc
    arguments = (
        *(gates, dh_first, dc_first, *scratch, control, dout, dh_last, carry_last),
        *(states, first_states, *plan, packed, time, cell.number, cell.first_gate),
        *(cell.parts[0].shape[1], CODES[cell.activation], CODES[cell.recurrent_activation]),
        *(reverse, zero_masked, shares.members, shares.join, tuple(groups)),
    )
    run_shared(work, arguments, help_from, control)


def _scratch(
    rows: int, units: int, dtype: Any, shares: Shares
) -> tuple[Groups, Array, Array, Ints]:
    """How rows are dealt; memory for what is carried, for sums, and for indices."""
    members, width = shares.members, lanes(dtype)
    stride = -(-units // width) * width
    row_bytes = dtype.itemsize * (stride + PANEL * width) + 8 * INDEX_ROWS
    groups = deal(rows, shares.groups, shares.common, row_bytes)
    return (
        groups,
        aligned_empty(groups.slots(members) * stride, dtype),
        aligned_empty(members * groups.most * PANEL * width, dtype),
        np.empty(members * INDEX_ROWS * groups.most, np.int64),
    )
