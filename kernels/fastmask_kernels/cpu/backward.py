"""The time loop backwards: what reaches each step, and the gradients of its gates.

    dh_k = gradient of the step's outputs + dZ_{k+1} U^T (+ dh_last at a row's last step)

and then the cell's own part (see `cell_gradients`), which overwrites the gates of step k by
dZ_k. Everything else that a backward pass needs comes from dZ without a loop over time (see
`gradients`).

Rows stand in the order of the plan, longest first, as in the forward loop, which this one walks
from its end: rows join as k falls, and what few long rows do together comes before the groups.
Step -1 is the state that the rows begin with. Rows without steps join there.

One product after another reads U^T in panels of PANEL registers of units, in strips as
the micro-kernel wants them. A GRU without `reset_after` has two rounds a step, each with a part
of U^T of its own; the other cells have one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..memory import aligned_empty
from ._compile import array, compiled, inlined, inner, output
from .activations import CODES
from .atomics import atomic_add
from .batch import entry_of, find_targets, take_group
from .cell_gradients import (
    PANEL,
    add_part,
    gru_gradient_reset_after,
    gru_gradient_reset_before,
    gru_second_round,
    lstm_gradient,
    rnn_gradient,
    sum_rows,
)
from .gemm import SUMS, Tiles
from .product import product
from .sharing import share
from .simd import copy_row, flat, lanes, lanes_of
from .teamwork import CLAIMS, GROUPS_DONE, NEXT_GROUP, Team, next_panel, wait_for_groups
from .threads import run_shared

Array = NDArray[np.floating]
Ints = NDArray[np.int64]

_TILES = Tiles(strip=2, row=PANEL, vectors=2, widths=(2, PANEL), few=SUMS // 6)
_FEW, _STRIP = _TILES.few, _TILES.strip
_multiply = product(_TILES)

LSTM, GRU_RESET_AFTER, GRU_RESET_BEFORE, RNN = range(4)
INDEX_ROWS = 9  # index arrays of a thread, see `Scratch`
_i8 = types.int64
_flag = types.boolean


class Batch(NamedTuple):
    """What is read and written: flat views of the caller's arrays, and the plan by rank."""

    time: int  # T
    units: int  # H
    gates_width: int  # columns of `gates`
    sequences: bool  # whether there is a `dout`
    gates: Any  # real (P, gates_width)
    dh_first: Any  # real (B, H)
    dout: Any  # real (B, T, H)
    dh_last: Any  # real (B, H)
    states: Any  # real (P, H): after each step, c of an LSTM, else h
    first_states: Any  # real (B, H)
    steps: Any  # int64 (P): flat positions
    row: Any  # int64 (B): row of a rank
    first: Any  # int64 (B): where its steps begin
    count: Any  # int64 (B): how many they are
    reverse: bool
    zero_masked: bool


class Net(NamedTuple):
    """Weights, and what is carried from step to step besides dZ."""

    cell: int
    packed: Any  # real: see `pack_transposed`
    carry: Any  # real (B, padded H): dc of an LSTM, the direct part of dh of a GRU
    panels: int
    first_gate: int  # of those that the first round's product reads
    depth: int  # length of that product
    activation: int
    recurrent_activation: int


class Scratch(NamedTuple):
    """One thread's own memory. Index arrays are int64, one entry an active row."""

    z: Any  # real: dh of one panel
    rank: Any  # ranks of the rows of this group
    state: Any  # where they begin in `carry`
    gates: Any  # where the step's gates begin
    later: Any  # where dZ of the following step begins, as the product reads it
    after: Any  # where the state after the step begins, in `states`
    before: Any  # where the state before it begins, in `states` or `first_states`
    target: Any  # positions of the step's outputs
    gap: Any  # how many masked positions follow each
    mine: Any  # (2): this thread's place among the panels, panels not yet announced


def pack_transposed(parts: list[Array]) -> Array:
    """U^T as the micro-kernel reads it: packed[part][panel][strip][row][unit].

    Args:
        parts: (H, depth) each: columns of the recurrent kernel, one part a round.
    """
    dtype, width = parts[0].dtype, _STRIP * lanes(parts[0].dtype)
    units = len(parts[0])
    strips = panels_of(units, dtype) * (PANEL // _STRIP)
    packed = aligned_empty(sum(strips * width * part.shape[1] for part in parts), dtype)
    start = 0
    for part in parts:
        stop = start + strips * width * part.shape[1]
        blocks = packed[start:stop].reshape(strips, part.shape[1], width)
        start = stop
        for block, left in zip(blocks, range(0, strips * width, width)):
            weights = part[left : left + width].T
            block[:, : weights.shape[1]] = weights
            block[:, weights.shape[1] :] = 0
    return packed


def panels_of(units: int, dtype: Any) -> int:
    """Number of panels."""
    return -(-units // (PANEL * lanes(dtype)))


@inner
def _find_steps(batch: Any, net: Any, scratch: Any, rows: int, k: int) -> None:
    """List where the rows of step k are."""
    units, width = batch.units, batch.gates_width
    back = -1 if batch.reverse else 1  # from a step's place to that of the following one
    for i in range(rows):
        rank = scratch.rank[i]
        step = entry_of(batch, rank, k)
        scratch.gates[i] = step * width
        scratch.later[i] = (step + back) * width + net.first_gate * units
        scratch.after[i] = step * units
        scratch.before[i] = (step - back) * units if k > 0 else batch.row[rank] * units


@inner
def _receive(
    batch: Any, net: Any, scratch: Any, k: int, rows: int, joined: int, left: int, vectors: int
) -> None:
    """z = all that reaches dh of one panel, but for the product with the later step's gates.

    Rows from `joined` on begin here.
    """
    lanes = lanes_of(scratch.z)
    units = batch.units
    gru = net.cell == GRU_RESET_AFTER or net.cell == GRU_RESET_BEFORE
    for i in range(rows):
        source, count = 0, 0
        if k >= 0 and batch.sequences:
            source = scratch.target[i] * units
            count = 1 if batch.zero_masked else 1 + scratch.gap[i]
        for v in range(vectors):
            unit = left + v * lanes
            columns = min(lanes, units - unit)
            z = (i * PANEL + v) * lanes
            sum_rows(scratch.z, z, batch.dout, source + unit, units, count, columns)
            if gru:  # whose carry begins with dh_last
                add_part(scratch.z, z, net.carry, scratch.state[i] + unit, columns)
            elif i >= joined:
                start = batch.row[scratch.rank[i]] * units + unit
                add_part(scratch.z, z, batch.dh_last, start, columns)


@inner
def _step(
    batch: Any, net: Any, scratch: Any, panel: int, k: int, turn: int, rows: int, joined: int
) -> None:
    """One round of one step of one panel of units."""
    lanes = lanes_of(scratch.z)
    width = PANEL * lanes
    units = batch.units
    left = panel * width
    vectors = min(PANEL, -(-(units - left) // lanes))
    if turn == 0:
        _receive(batch, net, scratch, k, rows, joined, left, vectors)
        reached, index, depth = joined, scratch.later, net.depth
        weights = panel * width * depth
    else:
        for i in range(rows * width):
            scratch.z[i] = 0
        reached, index, depth = rows, scratch.gates, units
        weights = net.panels * width * net.depth + panel * width * depth
    zero: Any = np.int64(0)  # a literal would compile _multiply once more
    _multiply(
        np.int64(PANEL if reached <= _FEW else -(-vectors // _STRIP) * _STRIP),
        reached,
        batch.gates,
        zero,
        index,
        depth,
        net.packed,
        weights,
        _STRIP * lanes * depth,
        scratch.z,
        zero,
        width,
        scratch.z,
        zero,
    )
    for v in range(vectors):
        unit = left + v * lanes
        columns = min(lanes, units - unit)
        if k < 0:
            for i in range(rows):
                target = batch.row[scratch.rank[i]] * units + unit
                copy_row(batch.dh_first, target, scratch.z, i * width + v * lanes, columns)
        elif net.cell == LSTM:
            lstm_gradient(batch, net, scratch, k, rows, v, unit, columns)
        elif net.cell == RNN:
            rnn_gradient(batch, net, scratch, k, rows, v, unit, columns)
        elif net.cell == GRU_RESET_AFTER:
            gru_gradient_reset_after(batch, net, scratch, k, rows, v, unit, columns)
        elif turn == 0:
            gru_gradient_reset_before(batch, net, scratch, k, rows, v, unit, columns)
        else:
            gru_second_round(batch, net, scratch, k, rows, v, unit, columns)


@inner
def _begun(batch: Any, scratch: Any, rows: int, taken: int, k: int) -> int:
    """How many of the group's rows, at least `rows`, have a step k or begin with it."""
    while rows < taken and batch.count[scratch.rank[rows]] > k:
        rows += 1
    return rows


@inlined
def retreat(batch: Any, net: Any, scratch: Any, team: Any, taken: int, k: int, end: int) -> None:
    """Run the steps before k, down to `end`, of the group in `scratch.rank`."""
    mine = scratch.mine
    mine[1] = 0
    phase = 0
    rows = _begun(batch, scratch, 0, taken, k)
    while k > end:
        k -= 1
        joined = rows
        rows = _begun(batch, scratch, rows, taken, k)
        if rows == 0:
            continue
        _find_steps(batch, net, scratch, rows, k)
        if k >= 0 and batch.sequences:
            find_targets(batch, scratch, rows, k)
        for turn in range(2 if net.cell == GRU_RESET_BEFORE and k >= 0 else 1):
            phase += 1
            mine[0] = -1
            while True:
                panel = next_panel(team, mine, phase, net.panels)
                if panel < 0:
                    break
                _step(batch, net, scratch, panel, k, turn, rows, joined)


@compiled(
    lambda t: types.void(
        *(output(t, 2), output(t, 2), output(t, 2), output(t, 2), output(_i8, 2), output(_i8, 1)),
        *(array(t, 3), array(t, 2), array(t, 2), array(t, 2), array(_i8, 1), array(_i8, 2)),
        *(array(t, 1), _i8, _i8, _i8, _i8, _i8, _i8, _flag, _flag, _i8, _i8, _i8, _i8),
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
    member: int,
) -> None:
    """One thread's part: what is done together first; then groups of rows, each alone."""
    rows, units = dh_first.shape
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
        flat(indices[own + 8]),
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
        retreat(batch, net, scratch, team, taken, k, end)
        if not together:
            atomic_add(counters, GROUPS_DONE, 1)
        together = False
    wait_for_groups(counters, groups)


class Cell(NamedTuple):
    """What the time loop has to know of a cell."""

    number: int  # LSTM, ...
    first_gate: int  # of those in the first round's product
    parts: list[Array]  # (H, depth) each: the columns of the recurrent kernel for each round
    activation: str
    recurrent_activation: str


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
    panels, width = panels_of(units, dtype), lanes(dtype)
    depth = sum(part.shape[1] for part in cell.parts)
    order, counts = ranks[0], ranks[2]
    shares = share(counts, int(counts.sum()), 0, units, depth // units, dtype.itemsize, threads)
    members = shares.members
    stride = -(-units // width) * width
    carried = np.zeros((rows, stride), dtype)
    carried[:, :units] = (dh_last if carry is None else carry)[order]
    z_size = rows * PANEL * width
    z = aligned_empty(members * z_size, dtype).reshape(members, z_size)
    indices = np.empty((members * INDEX_ROWS, max(rows, 2)), np.int64)
    control = np.zeros(CLAIMS + panels, np.int64)
    arguments = (
        *(gates, dh_first, carried, z, indices, control, dout, dh_last, states, first_states),
        *(steps, ranks, pack_transposed(cell.parts), time, cell.number, cell.first_gate),
        *(cell.parts[0].shape[1], CODES[cell.activation], CODES[cell.recurrent_activation]),
        *(reverse, zero_masked, *shares),
    )
    run_shared(_work.for_dtype(dtype), arguments, members, control)
    if carry is not None:
        carry[order] = carried[:, :units]
