"""The time loop backwards: what reaches each step, and the gradients of its sums.

    dh_k = gradient of the step's outputs + dZ_{k+1} U^T (+ dh_last at a row's last step)

followed by the cell's own part (see `cell_gradients`), which overwrites what was saved of step k
with dZ_k. Everything else in a backward pass follows from dZ without a loop over time (see
`step_products`).

Rows are in the order of the plan, longest first. This loop walks the forward one from its end:
rows join as k falls, and the common steps of the few longest rows come before the groups. Step -1
stands for the initial states. Rows without steps join there.

Products read U^T in panels of PANEL registers of units, packed in strips for the micro-kernel. A
sum that is called on a value has its own part of U^T, and adds a round to the step.
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
from .cell_gradients import PANEL, add_part, cell_gradient, sum_rows
from .columns import Columns
from .transpose import STRIP

multiply = product(Tiles(STRIP, row=PANEL, widths=(STRIP,), few_widths=(STRIP, PANEL)))


class Batch(NamedTuple):
    """What is read and written: flat views of the caller's arrays, and the plan by rank.

    Where a field holds several views, it has one for each state, or for each vector.
    """

    time: int  # T
    units: int  # H
    gates_width: int  # columns of `gates`
    sequences: bool  # whether there is a `dout`
    gates: Any  # real (P, gates_width)
    dfirst: Any  # real (B, H), several
    dout: Any  # real (B, T, H)
    dlast: Any  # real (B, H), several
    states: Any  # real (P, H), several: after each step
    first: Any  # real (B, H), several
    vectors: Any  # real (H), several
    steps: Any  # int64 (P): flat positions
    offsets: Any  # int64 (B + 1): where the steps of a row begin
    order: Any  # int64 (B): row of a rank
    reverse: bool
    zero_masked: bool


class State(NamedTuple):
    """The weights, and what is kept between rounds and between steps."""

    packed: Any  # real: U^T, see `transpose.pack_blocks`
    panels: int
    planes: Any  # real (slots, planes, stride): see `cells.rounds`
    stride: int  # padded H
    activation: int
    recurrent_activation: int


class Scratch(NamedTuple):
    """One thread's scratch memory. Index arrays are int64, with an entry for each row."""

    z: Any  # real: the product for one panel
    row: Any  # the rows of this group, longest first
    first: Any  # where their steps begin
    count: Any  # their numbers of steps
    state: Any  # where they begin in `planes`
    gates: Any  # where the step's gates begin
    later: Any  # where the following step's gates begin
    after: Any  # where the states after the step begin, in `states`
    before: Any  # where the states before it begin, in `states` or `first`
    target: Any  # positions of the step's outputs
    gap: Any  # how many masked positions follow each


class Products(NamedTuple):
    """The product with U^T that each round begins with, by round; in blocks of H columns."""

    block: tuple[int, ...]  # of `gates`, the first one that is read
    blocks: tuple[int, ...]  # how many are read; 0 where there is no product
    before: tuple[int, ...]  # blocks of U^T that are packed before the round's


def _products_of(columns: Columns) -> Products:
    """The products of a cell's rounds."""
    packed = len(columns.at_once)
    found = [(columns.first, packed, 0)]
    for each in columns.backward.rounds[1:]:
        found.append((0, 0, 0) if each.called is None else (each.called, 1, packed))
        packed += each.called is not None
    return Products(*(tuple(numbers) for numbers in zip(*found, strict=True)))


@inner
def _find_steps(batch: Any, scratch: Any, rows: int, k: int) -> None:
    """List where the rows of step k are."""
    units, width = batch.units, batch.gates_width
    back = -1 if batch.reverse else 1  # from a step's place to that of the following one
    for i in range(rows):
        step = entry_of(batch, scratch.first[i], scratch.count[i], k)
        scratch.gates[i] = step * width
        scratch.later[i] = (step + back) * width
        scratch.after[i] = step * units
        scratch.before[i] = (step - back) * units if k > 0 else scratch.row[i] * units


@inner
def _begun(scratch: Any, rows: int, taken: int, k: int) -> int:
    """How many of the group's rows have joined at step k; at least `rows`."""
    while rows < taken and scratch.count[rows] > k:
        rows += 1
    return rows


def _ends(columns: Columns) -> tuple[Any, Any]:
    """`receive` and `write_first` of a cell: how gradients reach a row, and leave it."""
    carries_h = columns.backward.carries_h
    first_kept = 0 if carries_h else 1  # of the states that have planes
    kept = len(columns.cell.states) - first_kept

    @inner
    def receive(
        batch: Any,
        state: Any,
        scratch: Any,
        k: int,
        rows: int,
        joined: int,
        left: int,
        vectors: int,
    ) -> None:
        """z = the gradient of one panel of h, except the product with the later step's dZ.

        Rows from `joined` on begin here.
        """
        lanes, units = lanes_of(scratch.z), batch.units
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
                last = scratch.row[i] * units + unit
                if i >= joined:
                    for plane in range(kept):
                        place = scratch.state[i] + plane * state.stride + unit
                        if columns < lanes:  # padding must not become infinite or denormal
                            fill_row(state.planes, place, lanes)
                        copy_row(
                            state.planes, place, batch.dlast[first_kept + plane], last, columns
                        )
                if carries_h:
                    place = scratch.state[i] + unit
                    add_part(scratch.z, z, state.planes, place, columns)
                elif i >= joined:
                    add_part(scratch.z, z, batch.dlast[0], last, columns)

    @inner
    def write_first(
        batch: Any, state: Any, scratch: Any, rows: int, vector: int, unit: int, columns: int
    ) -> None:
        """Write the gradients of the rows' initial states."""
        lanes = lanes_of(scratch.z)
        for i in range(rows):
            target = scratch.row[i] * batch.units + unit
            copy_row(batch.dfirst[0], target, scratch.z, (i * PANEL + vector) * lanes, columns)
            for number in range(1, len(batch.dfirst)):
                place = scratch.state[i] + (number - first_kept) * state.stride + unit
                copy_row(batch.dfirst[number], target, state.planes, place, columns)

    return receive, write_first


def _round(columns: Columns) -> Any:
    """`run_round` of a cell, for the time loop to call."""
    receive, write_first = _ends(columns)
    block, blocks, before = _products_of(columns)
    gradient = cell_gradient(columns.cell, columns.backward)

    @inner
    def run_round(
        batch: Any,
        state: Any,
        scratch: Any,
        panel: int,
        k: int,
        number: int,
        rows: int,
        joined: int,
    ) -> None:
        """One round of one step of one panel of units."""
        lanes = lanes_of(scratch.z)
        width = PANEL * lanes
        units = batch.units
        left = panel * width
        vectors = min(PANEL, -(-(units - left) // lanes))
        if number == 0:
            receive(batch, state, scratch, k, rows, joined, left, vectors)
            reached, index = joined, scratch.later
        else:
            for i in range(rows * width):
                scratch.z[i] = 0
            reached, index = rows, scratch.gates
        depth = units * blocks[number]
        zero: Any = np.int64(0)  # a literal would make `multiply` compile once more
        if depth > 0:
            multiply(
                np.int64(-(-vectors // STRIP) * STRIP),
                reached,
                batch.gates,
                units * block[number],
                index,
                depth,
                state.packed,
                width * (state.panels * units * before[number] + panel * depth),
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
                write_first(batch, state, scratch, rows, v, unit, columns)
            else:
                gradient(batch, state, scratch, number, k, rows, v, unit, columns)

    return run_round


def time_loop(columns: Columns) -> Any:
    """`run_steps` of a cell, for compiled kernels to call."""
    run_round, blocks = _round(columns), _products_of(columns).blocks
    rounds = len(blocks)

    @inlined
    def run_steps(
        batch: Any, state: Any, scratch: Any, team: Any, taken: int, k: int, end: int
    ) -> bool:
        """Run the steps before k, down to `end`, of the rows in `scratch.row`.

        Returns False if this thread left the others before the end.
        """
        phase = 0
        rows = _begun(scratch, 0, taken, k)
        while k > end:
            k -= 1
            joined = rows
            rows = _begun(scratch, rows, taken, k)
            if rows == 0:
                continue
            _find_steps(batch, scratch, rows, k)
            if k >= 0 and batch.sequences:
                find_targets(batch, scratch, rows, k)
            for number in range(rounds if k >= 0 else 1):
                phase += 1
                work = rows * batch.units * batch.units * blocks[number] // team.threads
                chunk = NONE
                while True:
                    chunk = next_chunk(team, phase, chunk, work)
                    if chunk == LEAVE:
                        return False
                    if chunk == DONE:
                        break
                    first = chunk_end(team, chunk - 1, state.panels)
                    last = chunk_end(team, chunk, state.panels)
                    for place in range(first, last):
                        panel = zigzag(first, place, last, phase)
                        run_round(batch, state, scratch, panel, k, number, rows, joined)
                    announce(team, phase, chunk)
        return True

    return run_steps
