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

from typing import Any, NamedTuple

import numpy as np

from ..gemm import Tiles
from ..jit import inlined, inner
from ..packing import Layout, gate_distance
from ..parallel.barrier import DONE, LEAVE, NONE, announce, next_share, share_end, there_and_back
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


def panels_of(vectors: int, panel: int, members: int) -> int:
    """Number of panels: as few as there can be, and as many for each thread that shares a step."""
    each = -(-vectors // (panel * members))
    return min(vectors, each * members)


count_panels = inlined(panels_of)


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
    def project(
        batch: Any,
        net: Any,
        scratch: Any,
        vector: int,
        count: int,
        weights: int,
        strip_step: int,
        rows: int,
        z: Any,
        z_start: int,
    ) -> None:
        """z = bias + x W of one panel, for the rows listed in `source`."""
        lanes = lanes_of(z)
        zero: Any = np.int64(0)  # a literal would compile multiply once more
        own_bias = vector * bias * lanes
        multiply(
            inputs * count * gates_apart(vector, batch.units, lanes) // lanes,
            rows,
            batch.x,
            zero,
            scratch.source,
            batch.features,
            net.packed,
            weights,
            strip_step,
            net.packed,
            own_bias,
            zero,
            z,
            z_start,
        )
        for gate in range(inputs, bias):  # it has no product with x
            for i in range(rows):
                start = z_start + (i * row_vectors + gate) * lanes
                copy_row(z, start, net.packed, own_bias + gate * lanes, lanes)

    @inlined
    def finish(
        batch: Any,
        net: Any,
        scratch: Any,
        vector: int,
        count: int,
        k: int,
        rows: int,
        new: int,
        z: Any,
        z_start: int,
    ) -> None:
        """What becomes of one panel's new state."""
        lanes = lanes_of(z)
        for v in range(count):
            left = (vector + v) * lanes
            columns = min(lanes, batch.units - left)
            if batch.sequences:
                write_outputs(batch, net, scratch, rows, new, left, columns)
            if batch.save_states:
                apart = gates_apart(vector, batch.units, lanes)
                save_step(
                    batch, net, scratch, k, rows, new, left, columns, z, z_start, lanes, apart
                )
            write_last(batch, net, scratch, k, rows, new, left, columns)

    @inlined
    def advance(batch: Any, net: Any, scratch: Any, team: Any, rows: int, k: int, end: int) -> None:
        """Run steps k to `end` of the rows in `scratch.row`."""
        lanes = lanes_of(scratch.z)
        width = np.int64(row_vectors) * lanes
        # Where a vector's two matrices stand, and how far apart their strips are.
        matrices = net.vectors * bias * lanes
        input_size = inputs * batch.features * lanes
        size = input_size + recurrent * batch.units * lanes
        input_step = size if panel_vectors > 1 else strip * batch.features * lanes
        recurrent_step = size if panel_vectors > 1 else strip * batch.units * lanes
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
            z, panel_size = (team.z, total * width) if keep else (scratch.z, 0)
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
                old = net.plane - new
                depth = rows * batch.units * recurrent
                if j == 0:
                    depth += total * batch.features * inputs
                work = net.vectors * lanes * depth // team.members
                share = NONE
                while True:
                    share = next_share(team, phase, share, work)
                    if share == LEAVE:
                        return
                    if share == DONE:
                        break
                    first = share_end(team, share - 1, net.panels)
                    last = share_end(team, share, net.panels)
                    together = max(last - first, 1) if block > 1 else 1
                    # What follows a step of few rows can wait until the others know of it; but
                    # when all know that the last step is done, nothing may be left to do; nor
                    # may gates in z, whose panels move when the next block is of another size.
                    early = block > 1 and share == team.member and k + step + 1 < end
                    early = early and not (batch.save_gates and j + 1 == block * rounds)
                    for left in range(first, max(first + 1, last), together):
                        right = min(left + together, last)
                        for place in range(left, right):
                            panel = there_and_back(first, place, last, phase)
                            vector, count = vectors_of_panel(net, panel)
                            weights = matrices + vector * size
                            z_start = panel * panel_size
                            if block == 1 and part == 0 and batch.sequences:
                                await_outputs(batch, scratch, rows, vector * lanes, count * lanes)
                            if j == 0:
                                project(
                                    batch,
                                    net,
                                    scratch,
                                    vector,
                                    count,
                                    weights,
                                    input_step,
                                    total,
                                    z,
                                    z_start,
                                )
                            apart = gates_apart(vector, batch.units, lanes)
                            a, start, vectors, column, sums = operand(net, part, old, count, apart)
                            z_start += begin * width + sums * lanes
                            multiply(
                                vectors,
                                rows,
                                a,
                                start,
                                scratch.state,
                                batch.units,
                                net.packed,
                                weights + input_size + column * lanes,
                                recurrent_step,
                                z,
                                z_start,
                                width,
                                z,
                                z_start,
                            )
                        for place in range(left, right):
                            panel = there_and_back(first, place, last, phase)
                            vector, count = vectors_of_panel(net, panel)
                            z_start = panel * panel_size + begin * width
                            update(
                                net,
                                scratch.state,
                                part,
                                vector * lanes,
                                old,
                                new,
                                count,
                                gates_apart(vector, batch.units, lanes),
                                rows,
                                z,
                                z_start,
                            )
                        if early:
                            announce(team, phase, share)
                        if part == rounds - 1:
                            for place in range(left, right):
                                panel = there_and_back(first, place, last, phase)
                                vector, count = vectors_of_panel(net, panel)
                                finish(
                                    batch,
                                    net,
                                    scratch,
                                    vector,
                                    count,
                                    k + step,
                                    rows,
                                    new,
                                    z,
                                    panel * panel_size + begin * width,
                                )
                    if not early:
                        announce(team, phase, share)
            k += block

    return advance
