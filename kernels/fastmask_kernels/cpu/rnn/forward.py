"""The time loop of every cell: which products a step needs, who computes them, what follows.

State. Numbers of each unit of each row stand in planes (slots, padded units), see `groups` and
`rounds`: h has the first two, of which step k reads plane k % 2 and writes the other. Units that
fill up a register have zero weights; nobody reads their state.

Weights stand by vectors, one register's width of units each (see `packing`); a panel is one
vector, or a few, that a thread computes in one go. With few rows the products with the kernel
are done for a block of steps at once, as one wide product that does not wait for h; the
weights are then read once a block instead of once a step.

Rounds. A cell whose step needs all units of an intermediate result (the GRU without
`reset_after`) has several rounds over the panels a step, and keeps its sums between them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..jit import inlined, inner
from ..packing import gate_distance
from ..parallel.barrier import DONE, LEAVE, NONE, announce, chunk_end, next_chunk, zigzag
from ..simd import copy_row, lanes_of
from .batch import (
    active_rows,
    await_outputs,
    find_sources,
    find_targets,
    step_saver,
    write_last,
    write_outputs,
)
from .cell_code import CellCode

BLOCK_ROWS = 24  # rows of a product over a block of steps: full tiles


class Layer(NamedTuple):
    """Weights and state."""

    packed: Any  # real (W)
    states: Any  # real (planes * slots * padded H)
    panels: int
    vectors: int  # registers of one number a unit
    plane: int  # elements of one plane
    activation: int
    recurrent_activation: int
    save_gates: int  # 1 where a cell leaves what is saved of it in z


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
def time_loop(code: CellCode) -> Any:
    """`run_steps` for a cell, for compiled kernels to call."""
    multiply, compute_units = code.multiply, code.compute_units
    rounds, panel_vectors, parts = code.rounds, code.panel, code.parts
    bias, vectors, inputs, recurrent, strip, paired = code.layout
    sums, row_vectors = len(code.cell.sums), code.tiles.row
    save_step = step_saver(code)

    @inner
    def vectors_of_panel(layer: Any, panel: int) -> tuple[int, int]:
        if panel_vectors == 1:
            return panel, 1
        vector = panel * layer.vectors // layer.panels
        return vector, (panel + 1) * layer.vectors // layer.panels - vector

    @inner
    def gates_apart(vector: int, units: int, lanes: int) -> int:
        return gate_distance(vector, units, lanes) if paired else lanes

    @inlined
    def begin_sums(batch: Any, layer: Any, scratch: Any, now: Any, panel: int) -> None:
        """bias + x W of all steps of a block."""
        lanes, z_start = lanes_of(now.z), panel * now.panel_size
        vector, count = vectors_of_panel(layer, panel)
        size = (inputs * batch.features + recurrent * batch.units) * lanes
        own_bias, zero = vector * bias * lanes, np.int64(0)  # a literal would compile once more
        multiply(
            inputs * count * gates_apart(vector, batch.units, lanes) // lanes,
            now.total,
            batch.x,
            zero,
            scratch.source,
            batch.features,
            layer.packed,
            layer.vectors * (bias + vectors) * lanes + vector * size,
            size if panel_vectors > 1 else strip * batch.features * lanes,
            layer.packed,
            own_bias,
            zero,
            now.z,
            z_start,
        )
        for gate in range(inputs, sums):  # it has no product with x
            for i in range(now.total):
                start = z_start + (i * row_vectors + gate) * lanes
                copy_row(now.z, start, layer.packed, own_bias + gate * lanes, lanes)

    @inlined
    def add_products(batch: Any, layer: Any, scratch: Any, now: Any, panel: int) -> None:
        """Add a round's products to the sums."""
        lanes = lanes_of(now.z)
        vector, count = vectors_of_panel(layer, panel)
        # Where a vector's two matrices stand, and how far apart their strips are.
        input_size = inputs * batch.features * lanes
        size = input_size + recurrent * batch.units * lanes
        weights = layer.vectors * (bias + vectors) * lanes + vector * size + input_size
        strip_step = size if panel_vectors > 1 else strip * batch.units * lanes
        z_start = panel * now.panel_size + now.begin * row_vectors * lanes
        for part in parts:
            number, plane, gates, column, place = part
            if number == now.part:
                multiply(
                    gates * count * gates_apart(vector, batch.units, lanes) // lanes,
                    now.rows,
                    layer.states,
                    plane * layer.plane if plane > 0 else layer.plane - now.new,
                    scratch.state,
                    batch.units,
                    layer.packed,
                    weights + column // strip * strip_step + column % strip * lanes,
                    strip_step,
                    now.z,
                    z_start + place * lanes,
                    np.int64(row_vectors) * lanes,
                    now.z,
                    z_start + place * lanes,
                )

    @inlined
    def sum_panel(batch: Any, layer: Any, scratch: Any, now: Any, panel: int) -> None:
        """Make the sums of one panel; in a block's first round bias + x W of all its steps, too."""
        lanes = lanes_of(now.z)
        vector, count = vectors_of_panel(layer, panel)
        if now.block == 1 and now.part == 0 and batch.sequences:
            await_outputs(batch, scratch, now.rows, vector * lanes, count * lanes)
        if now.number == 0:
            begin_sums(batch, layer, scratch, now, panel)
        add_products(batch, layer, scratch, now, panel)

    @inlined
    def finish_panel(batch: Any, layer: Any, scratch: Any, now: Any, panel: int) -> None:
        """Copy the new state of one panel to where it is wanted."""
        lanes, rows, new = lanes_of(now.z), now.rows, now.new
        vector, count = vectors_of_panel(layer, panel)
        z_start = panel * now.panel_size + now.begin * row_vectors * lanes
        for v in range(count):
            left = (vector + v) * lanes
            columns = min(lanes, batch.units - left)
            if batch.sequences:
                write_outputs(batch, layer, scratch, rows, new, left, columns)
            if batch.save_states:
                apart = gates_apart(vector, batch.units, lanes)
                save_step(
                    *(batch, layer, scratch, now.k, rows, new, left, columns),
                    *(now.z, z_start + v * lanes, apart),
                )
            write_last(batch, layer, scratch, now.k, rows, new, left, columns)

    @inlined
    def compute_chunk(
        batch: Any, layer: Any, scratch: Any, team: Any, now: Any, chunk: int, end: int
    ) -> None:
        """Compute one chunk of panels, and tell the others."""
        lanes = lanes_of(now.z)
        first = chunk_end(team, chunk - 1, layer.panels)
        last = chunk_end(team, chunk, layer.panels)
        together = max(last - first, 1) if now.block > 1 else 1
        # What follows a step of few rows can wait until the others know of it; but when all know
        # that the last step is done, nothing may be left to do; nor may gates in z, whose panels
        # move when the next block is of another size.
        early = now.block > 1 and chunk == team.thread and now.k + 1 < end
        early = early and not (batch.save_gates and now.number + 1 == now.block * rounds)
        for left in range(first, max(first + 1, last), together):
            right = min(left + together, last)
            for place in range(left, right):
                sum_panel(batch, layer, scratch, now, zigzag(first, place, last, now.phase))
            for place in range(left, right):
                panel = zigzag(first, place, last, now.phase)
                vector, count = vectors_of_panel(layer, panel)
                compute_units(
                    now.part,
                    now.rows,
                    count,
                    gates_apart(vector, batch.units, lanes),
                    batch.units,
                    vector * lanes,
                    now.z,
                    panel * now.panel_size + now.begin * row_vectors * lanes,
                    layer.states,
                    layer.plane,
                    now.new,
                    scratch.state,
                    layer.packed,
                    (layer.vectors * bias + vector * vectors) * lanes,
                    layer.activation,
                    layer.recurrent_activation,
                    layer.save_gates,
                )
            if early:
                announce(team, now.phase, chunk)
            if now.part == rounds - 1:
                for place in range(left, right):
                    finish_panel(batch, layer, scratch, now, zigzag(first, place, last, now.phase))
        if not early:
            announce(team, now.phase, chunk)

    @inlined
    def run_steps(
        batch: Any, layer: Any, scratch: Any, team: Any, rows: int, k: int, end: int
    ) -> None:
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
                new = (k + step + 1) % 2 * layer.plane
                now = Round(k + step, part, j, phase, rows, begin, total, block, new, z, panel_size)
                depth = rows * batch.units * recurrent
                if j == 0:
                    depth += total * batch.features * inputs
                work = layer.vectors * lanes * depth // team.threads
                chunk = NONE
                while chunk != DONE:
                    chunk = next_chunk(team, phase, chunk, work)
                    if chunk == LEAVE:
                        return
                    if chunk != DONE:
                        compute_chunk(batch, layer, scratch, team, now, chunk, end)
            k += block

    return run_steps
