"""The time loop backwards: what reaches each step, and the gradients of its gates.

    dh_k = gradient of the step's outputs + dZ_{k+1} U^T (+ dh_last at a row's last step)

and then the cell's own part (see `cell_gradients`), which overwrites the gates of step k by
dZ_k. Everything else that a backward pass needs comes from dZ without a loop over time (see
`gradients`).

Rows stand in the order of the plan, longest first, as in the forward loop, which this one walks
from its end: rows join as k falls, and what few long rows do together comes before the groups.
Step -1 is the state that the rows begin with. Rows without steps join there.

Products read U^T in panels of PANEL registers of units, in strips as the micro-kernel wants them.
A GRU without `reset_after` has two rounds a step, each with a part of U^T of its own; the other
cells have one.

One compiled kernel serves all cells: a product does not know its cell, and what a cell adds to
it is small.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..gemm import Tiles
from ..jit import inlined, inner
from ..parallel.barrier import DONE, LEAVE, NONE, announce, chunk_end, next_chunk, zigzag
from ..product import product
from ..simd import copy_row, fill_row, lanes_of
from .batch import entry_of, find_targets
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

STRIP = 2  # registers
_multiply = product(Tiles(STRIP, row=PANEL, widths=(STRIP,), few_widths=(STRIP, PANEL)))

LSTM, GRU_RESET_AFTER, GRU_RESET_BEFORE, RNN = range(4)


class Batch(NamedTuple):
    """What is read and written: flat views of the caller's arrays, and the plan by rank."""

    time: int  # T
    units: int  # H
    gates_width: int  # columns of `gates`
    sequences: bool  # whether there is a `dout`
    gates: Any  # real (P, gates_width)
    dh_first: Any  # real (B, H)
    dc_first: Any  # real (B, H), of an LSTM
    dout: Any  # real (B, T, H)
    dh_last: Any  # real (B, H)
    carry_last: Any  # real (B, H): what `carry` begins with
    states: Any  # real (P, H): after each step, c of an LSTM, else h
    first_states: Any  # real (B, H)
    steps: Any  # int64 (P): flat positions
    offsets: Any  # int64 (B + 1): where the steps of a row begin
    order: Any  # int64 (B): row of a rank
    reverse: bool
    zero_masked: bool


class Net(NamedTuple):
    """Weights, and what is carried from step to step besides dZ."""

    cell: int
    packed: Any  # real: see `gate_gradients.pack_transposed`
    carry: Any  # real (slots, padded H): dc of an LSTM, the direct part of dh of a GRU
    panels: int
    first_gate: int  # of those that the first round's product reads
    depth: int  # length of that product
    activation: int
    recurrent_activation: int


class Scratch(NamedTuple):
    """One thread's own memory. Index arrays are int64, one entry a row in hand."""

    z: Any  # real: dh of one panel
    row: Any  # the rows of this group, longest first
    first: Any  # where their steps begin
    count: Any  # how many they are
    state: Any  # where they begin in `carry`
    gates: Any  # where the step's gates begin
    later: Any  # where dZ of the following step begins, as the product reads it
    after: Any  # where the state after the step begins, in `states`
    before: Any  # where the state before it begins, in `states` or `first_states`
    target: Any  # positions of the step's outputs
    gap: Any  # how many masked positions follow each


@inner
def _find_steps(batch: Any, net: Any, scratch: Any, rows: int, k: int) -> None:
    """List where the rows of step k are."""
    units, width = batch.units, batch.gates_width
    back = -1 if batch.reverse else 1  # from a step's place to that of the following one
    for i in range(rows):
        step = entry_of(batch, scratch.first[i], scratch.count[i], k)
        scratch.gates[i] = step * width
        scratch.later[i] = (step + back) * width + net.first_gate * units
        scratch.after[i] = step * units
        scratch.before[i] = (step - back) * units if k > 0 else scratch.row[i] * units


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
            if i >= joined:
                carry, last = scratch.state[i] + unit, scratch.row[i] * units + unit
                if columns < lanes:  # what fills up a register need not be infinite or tiny
                    fill_row(net.carry, carry, lanes)
                copy_row(net.carry, carry, batch.carry_last, last, columns)
            if gru:  # whose carry begins with dh_last
                add_part(scratch.z, z, net.carry, scratch.state[i] + unit, columns)
            elif i >= joined:
                add_part(scratch.z, z, batch.dh_last, last, columns)


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
        np.int64(-(-vectors // STRIP) * STRIP),
        reached,
        batch.gates,
        zero,
        index,
        depth,
        net.packed,
        weights,
        STRIP * lanes * depth,
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
                target = scratch.row[i] * units + unit
                copy_row(batch.dh_first, target, scratch.z, i * width + v * lanes, columns)
                if net.cell == LSTM:
                    carried = scratch.state[i] + unit
                    copy_row(batch.dc_first, target, net.carry, carried, columns)
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
def _begun(scratch: Any, rows: int, taken: int, k: int) -> int:
    """How many of the group's rows, at least `rows`, have a step k or begin with it."""
    while rows < taken and scratch.count[rows] > k:
        rows += 1
    return rows


@inlined
def retreat(batch: Any, net: Any, scratch: Any, team: Any, taken: int, k: int, end: int) -> bool:
    """Run the steps before k, down to `end`, of the rows in `scratch.row`.

    Returns False where this thread left the others before that.
    """
    phase = 0
    rows = _begun(scratch, 0, taken, k)
    while k > end:
        k -= 1
        joined = rows
        rows = _begun(scratch, rows, taken, k)
        if rows == 0:
            continue
        _find_steps(batch, net, scratch, rows, k)
        if k >= 0 and batch.sequences:
            find_targets(batch, scratch, rows, k)
        for turn in range(2 if net.cell == GRU_RESET_BEFORE and k >= 0 else 1):
            phase += 1
            work = rows * batch.units * net.depth // team.threads
            chunk = NONE
            while True:
                chunk = next_chunk(team, phase, chunk, work)
                if chunk == LEAVE:
                    return False
                if chunk == DONE:
                    break
                first = chunk_end(team, chunk - 1, net.panels)
                last = chunk_end(team, chunk, net.panels)
                for place in range(first, last):
                    panel = zigzag(first, place, last, phase)
                    _step(batch, net, scratch, panel, k, turn, rows, joined)
                announce(team, phase, chunk)
    return True
