"""The time loop of every cell: which products a step needs, who computes them, what follows.

State. `h` has two planes (slots, padded units), see `groups`: step k reads plane k % 2 and
writes the other. `c` is one plane of the cell's own. Units that fill up a register have zero
weights; nobody reads their state.

Weights stand by vectors, one register's width of units each (see `packing`); a panel is one
vector, or a few, that a thread computes in one go. With few rows the products with the kernel
are done for a block of steps at once, as one wide product that does not wait for h; the
weights are then read once a block instead of once a step.

Rounds. A cell whose step needs all units of an intermediate result (the GRU without
`reset_after`) has two rounds over the panels a step, and keeps its sums between them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..gemm import Tiles
from ..jit import inlined, inner
from ..packing import Layout, gate_distance
from ..parallel.barrier import DONE, LEAVE, NONE, announce, chunk_end, next_chunk, zigzag
from ..simd import copy_row, lanes_of
from .batch import (
    active_rows,
    await_outputs,
    find_sources,
    find_targets,
    save_step,
    write_last,
    write_outputs,
)

BLOCK_ROWS = 24  # rows of a product over a block of steps: full tiles


class Net(NamedTuple):
    """Weights and state."""

    packed: Any  # real (W)
    h: Any  # real (2 * slots * padded H)
    c: Any  # real (slots * padded H): what a cell keeps besides h
    panels: int
    vectors: int  # registers of one number a unit
    plane: int  # elements of one plane of h
    activation: int
    recurrent_activation: int
    save_gates: int  # 1 where a cell leaves its activated gates in z


class Cell(NamedTuple):
    """What the time loop asks of a cell; `operand` and `update` are inlined.

    A round of a step multiplies and adds to the sums in z, which begin with bias + x W:
        a, start, vectors, column, sums = operand(net, part, old, count, apart)
    The product is that of the rows of `a` from `start` on, with `vectors` registers of weights
    from the panel's `column` on, and goes to register `sums` of a row of z and those after it.
    Then
        update(net, index, part, left, old, new, count, apart, rows, z, z_start)
    makes of the sums the new state of `count` vectors of units, `left` the first unit. `rows`
    rows have their state at index[i] of the planes `old` and `new` of h, and of c. The gates of
    a unit stand `apart` numbers from each other.
    """

    name: str
    layout: Layout
    tiles: Tiles
    multiply: Any  # from `product`, for the tiles
    panel: int  # most vectors of a panel
    rounds: int  # see above; `part` counts them
    operand: Any
    update: Any


def panels_of(vectors: int, panel: int, threads: int) -> int:
    """Number of panels: as few as there can be, and as many for each thread that shares a step."""
    each = -(-vectors // (panel * threads))
    return min(vectors, each * threads)


count_panels = inlined(panels_of)


class Round(NamedTuple):
    """One round of one step of a block of steps."""

    k: int  # the step
    part: int  # which of the step's rounds
    number: int  # of the round in its block: the first one begins the sums of all steps
    phase: int  # number of the round in the time loop, see `barrier`
    rows: int  # that have the step
    begin: int  # where they stand among the rows of the block's steps
    total: int  # rows of all the block's steps
    block: int  # steps of the block
    new: int  # plane of h that the step writes
    z: Any  # real: the sums, of all panels side by side where there is a `panel_size`
    panel_size: int


@cache
def time_loop(cell: Cell) -> Any:
    """`advance` for a cell, for compiled kernels to call."""
    multiply, operand, update = cell.multiply, cell.operand, cell.update
    rounds, panel_vectors = cell.rounds, cell.panel
    bias, inputs, recurrent, strip = cell.layout
    paired = cell.layout.paired
    row_vectors = cell.tiles.row

    @inner
    def vectors_of_panel(net: Any, panel: int) -> tuple[int, int]:
        if panel_vectors == 1:
            return panel, 1
        vector = panel * net.vectors // net.panels
        return vector, (panel + 1) * net.vectors // net.panels - vector

    @inner
    def gates_apart(vector: int, units: int, lanes: int) -> int:
        return gate_distance(vector, units, lanes) if paired else lanes

    @inlined
    def sum_panel(batch: Any, net: Any, scratch: Any, now: Any, panel: int) -> None:
        """Make the sums of one panel; in a block's first round bias + x W of all its steps, too."""
        lanes = lanes_of(now.z)
        # Where a vector's two matrices stand, and how far apart their strips are.
        input_size = inputs * batch.features * lanes
        size = input_size + recurrent * batch.units * lanes
        input_step = size if panel_vectors > 1 else strip * batch.features * lanes
        recurrent_step = size if panel_vectors > 1 else strip * batch.units * lanes
        vector, count = vectors_of_panel(net, panel)
        weights = net.vectors * bias * lanes + vector * size
        apart = gates_apart(vector, batch.units, lanes)
        z_start = panel * now.panel_size
        if now.block == 1 and now.part == 0 and batch.sequences:
            await_outputs(batch, scratch, now.rows, vector * lanes, count * lanes)
        if now.number == 0:
            zero: Any = np.int64(0)  # a literal would compile multiply once more
            own_bias = vector * bias * lanes
            multiply(
                inputs * count * apart // lanes,
                now.total,
                batch.x,
                zero,
                scratch.source,
                batch.features,
                net.packed,
                weights,
                input_step,
                net.packed,
                own_bias,
                zero,
                now.z,
                z_start,
            )
            for gate in range(inputs, bias):  # it has no product with x
                for i in range(now.total):
                    start = z_start + (i * row_vectors + gate) * lanes
                    copy_row(now.z, start, net.packed, own_bias + gate * lanes, lanes)
        old = net.plane - now.new
        a, start, vectors, column, sums = operand(net, now.part, old, count, apart)
        z_start += (now.begin * row_vectors + sums) * lanes
        multiply(
            vectors,
            now.rows,
            a,
            start,
            scratch.state,
            batch.units,
            net.packed,
            weights + input_size + column * lanes,
            recurrent_step,
            now.z,
            z_start,
            np.int64(row_vectors) * lanes,
            now.z,
            z_start,
        )

    @inlined
    def finish_panel(batch: Any, net: Any, scratch: Any, now: Any, panel: int) -> None:
        """Copy the new state of one panel to where it is wanted."""
        lanes, rows, new = lanes_of(now.z), now.rows, now.new
        vector, count = vectors_of_panel(net, panel)
        z_start = panel * now.panel_size + now.begin * row_vectors * lanes
        for v in range(count):
            left = (vector + v) * lanes
            columns = min(lanes, batch.units - left)
            if batch.sequences:
                write_outputs(batch, net, scratch, rows, new, left, columns)
            if batch.save_states:
                apart = gates_apart(vector, batch.units, lanes)
                save_step(
                    *(batch, net, scratch, now.k, rows, new, left, columns),
                    *(now.z, z_start, lanes, apart),
                )
            write_last(batch, net, scratch, now.k, rows, new, left, columns)

    @inlined
    def compute_chunk(
        batch: Any, net: Any, scratch: Any, team: Any, now: Any, chunk: int, end: int
    ) -> None:
        """Compute one chunk of panels, and tell the others."""
        lanes = lanes_of(now.z)
        first = chunk_end(team, chunk - 1, net.panels)
        last = chunk_end(team, chunk, net.panels)
        together = max(last - first, 1) if now.block > 1 else 1
        # What follows a step of few rows can wait until the others know of it; but when all know
        # that the last step is done, nothing may be left to do; nor may gates in z, whose panels
        # move when the next block is of another size.
        early = now.block > 1 and chunk == team.thread and now.k + 1 < end
        early = early and not (batch.save_gates and now.number + 1 == now.block * rounds)
        for left in range(first, max(first + 1, last), together):
            right = min(left + together, last)
            for place in range(left, right):
                sum_panel(batch, net, scratch, now, zigzag(first, place, last, now.phase))
            for place in range(left, right):
                panel = zigzag(first, place, last, now.phase)
                vector, count = vectors_of_panel(net, panel)
                update(
                    net,
                    scratch.state,
                    now.part,
                    vector * lanes,
                    net.plane - now.new,
                    now.new,
                    count,
                    gates_apart(vector, batch.units, lanes),
                    now.rows,
                    now.z,
                    panel * now.panel_size + now.begin * row_vectors * lanes,
                )
            if early:
                announce(team, now.phase, chunk)
            if now.part == rounds - 1:
                for place in range(left, right):
                    finish_panel(batch, net, scratch, now, zigzag(first, place, last, now.phase))
        if not early:
            announce(team, now.phase, chunk)

    @inlined
    def advance(batch: Any, net: Any, scratch: Any, team: Any, rows: int, k: int, end: int) -> None:
        """Run steps k to `end` of the rows in `scratch.row`."""
        lanes = lanes_of(scratch.z)
        phase = 0
        while k < end:
            rows = active_rows(scratch, rows, k)
            if rows == 0:
                break
            block = 1
            if rows <= BLOCK_ROWS // 2:
                block = min(-(-BLOCK_ROWS // rows), end - k)
            total = find_sources(batch, scratch, rows, k, block)
            # The sums of few rows are kept for all panels, those of many for one at a time.
            keep = block > 1 or rounds > 1
            z, panel_size = (team.z, total * row_vectors * lanes) if keep else (scratch.z, 0)
            for j in range(block * rounds):
                step, part = j // rounds, j % rounds
                begin = scratch.begin[step]
                rows = scratch.begin[step + 1] - begin
                if rows == 0:
                    break
                if part == 0:
                    find_targets(batch, scratch, rows, k + step)
                phase += 1
                new = (k + step + 1) % 2 * net.plane
                now = Round(k + step, part, j, phase, rows, begin, total, block, new, z, panel_size)
                depth = rows * batch.units * recurrent
                if j == 0:
                    depth += total * batch.features * inputs
                work = net.vectors * lanes * depth // team.threads
                chunk = NONE
                while chunk != DONE:
                    chunk = next_chunk(team, phase, chunk, work)
                    if chunk == LEAVE:
                        return
                    if chunk != DONE:
                        compute_chunk(batch, net, scratch, team, now, chunk, end)
            k += block

    return advance
