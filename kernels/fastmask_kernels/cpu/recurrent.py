"""The time loop of every cell: which products a step needs, who computes them, what follows.

State. `h` has two planes (rows, padded units): step k reads plane k % 2 and writes the
other. `c` is one plane of the cell's own. Units that fill up a register have zero weights;
nobody reads their state.

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

from ._compile import inlined
from .batch import (
    active_rows,
    await_outputs,
    find_sources,
    find_targets,
    save_step,
    write_last,
    write_outputs,
)
from .gemm import Tiles
from .packing import Layout, gate_distance
from .simd import copy_row, lanes_of
from .teamwork import DONE, LEAVE, next_panel

BLOCK_ROWS = 24  # rows of a product over a block of steps: full tiles


class Net(NamedTuple):
    """Weights and state."""

    packed: Any  # real (W)
    h: Any  # real (2 * B * padded H)
    c: Any  # real (B * padded H): what a cell keeps besides h
    panels: int
    vectors: int  # registers of one number a unit
    plane: int  # elements of one plane of h
    activation: int
    recurrent_activation: int
    save_gates: int  # 1 where a cell leaves its activated gates in z


class Cell(NamedTuple):
    """What the time loop asks of a cell.

    `step` is inlined, and does one round of one step of one panel:
        step(net, index, units, part, vector, count, weights, strip_step, old, new, rows,
             z, z_start)
    `rows` rows have their state at index[i] of the planes `old` and `new` of h, and of c; their
    sums, in z, begin with bias + x W. The panel is `count` vectors of units, `vector` the first;
    its recurrent weights begin at `weights`, their strips are `strip_step` apart.
    """

    name: str
    layout: Layout
    tiles: Tiles
    multiply: Any  # from `product`, for the tiles
    panel: int  # most vectors of a panel
    rounds: int  # see above; `part` counts them
    step: Any


def panels_of(vectors: int, panel: int) -> int:
    """Number of panels."""
    return -(-vectors // panel)


def time_loop(cell: Cell) -> Any:
    """`advance` for a cell, for compiled kernels to call."""
    multiply, cell_step, rounds, panel_vectors = cell.multiply, cell.step, cell.rounds, cell.panel
    bias, inputs, recurrent, strip = cell.layout
    paired = cell.layout.paired
    row_vectors = cell.tiles.row

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
        vectors = inputs * count
        if paired:
            vectors = inputs * gate_distance(vector, batch.units, lanes) // lanes
        multiply(
            vectors,
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
                apart = gate_distance(vector, batch.units, lanes) if paired else lanes
                save_step(
                    batch, net, scratch, k, rows, new, left, columns, z, z_start, lanes, apart
                )
            write_last(batch, net, scratch, k, rows, new, left, columns)

    @inlined
    def advance(batch: Any, net: Any, scratch: Any, team: Any, rows: int, k: int, end: int) -> None:
        """Run steps k to `end` of the group in `scratch.rank`."""
        lanes = lanes_of(scratch.z)
        width = row_vectors * lanes
        # Where a vector's two matrices stand, and how far apart their strips are.
        matrices = net.vectors * bias * lanes
        input_size = inputs * batch.features * lanes
        size = input_size + recurrent * batch.units * lanes
        input_step = size if panel_vectors > 1 else strip * batch.features * lanes
        recurrent_step = size if panel_vectors > 1 else strip * batch.units * lanes
        mine = scratch.mine
        mine[1] = 0
        phase = 0
        while k < end:
            rows = active_rows(batch, scratch, rows, k)
            if rows == 0:
                break
            block = 1
            if rows <= BLOCK_ROWS // 2:
                block = min(-(-BLOCK_ROWS // rows), end - k)
            total = find_sources(batch, scratch, rows, k, block)
            # Phases of a block are its steps' rounds; a block of several steps begins with a
            # phase -1, which does the products with x for all of them.
            for j in range(-1 if block > 1 else 0, block * rounds):
                step, part = j // rounds, j % rounds
                begin = scratch.begin[max(step, 0)]
                rows = total if j < 0 else scratch.begin[step + 1] - begin
                if rows == 0:
                    break
                if j >= 0 and part == 0:
                    find_targets(batch, scratch, rows, k + step)
                phase += 1
                mine[0] = -1
                while True:
                    panel = next_panel(team, mine, phase, net.panels)
                    if panel == LEAVE:
                        return
                    if panel == DONE:
                        break
                    vector, count = panel, 1
                    if panel_vectors > 1:
                        vector = panel * net.vectors // net.panels
                        count = (panel + 1) * net.vectors // net.panels - vector
                    weights = matrices + vector * size
                    z, z_start = team.z, (panel * total + begin) * width
                    if block == 1 and rounds == 1:
                        z, z_start = scratch.z, 0
                    if block == 1 and part == 0 and batch.sequences:
                        await_outputs(batch, scratch, rows, vector * lanes, count * lanes)
                    if j < 0 or (block == 1 and part == 0):
                        project(
                            batch,
                            net,
                            scratch,
                            vector,
                            count,
                            weights,
                            input_step,
                            rows,
                            z,
                            z_start,
                        )
                    if j >= 0:
                        new = (k + step + 1) % 2 * net.plane
                        cell_step(
                            net,
                            scratch.state,
                            batch.units,
                            part,
                            vector,
                            count,
                            weights + input_size,
                            recurrent_step,
                            net.plane - new,
                            new,
                            rows,
                            z,
                            z_start,
                        )
                        if part == rounds - 1:
                            finish(
                                batch, net, scratch, vector, count, k + step, rows, new, z, z_start
                            )
            k += block

    return advance
