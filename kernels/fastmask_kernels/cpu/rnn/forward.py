"""The time loop of every cell: which products a step needs, who computes them, what follows.

State. A plane, (slots, padded units), holds one number for each unit of each row, see `groups` and
`rounds`. The first two planes are h's: step k reads plane k % 2 and writes the other. Padding
units have zero weights; nobody reads their state.

Panels. A thread computes a few registers of units in one go, see `panels`. With few rows the
products with the kernel are done for a block of steps at once, as one wide product that does not
wait for h; the weights are then read once a block instead of once a step.

Rounds. A step that needs an intermediate result of all units (in the GRU without `reset_after`)
goes over the panels in several rounds, and keeps its sums between them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ..jit import inlined
from ..parallel.barrier import DONE, LEAVE, NONE, announce, chunk_end, next_chunk, zigzag
from ..simd import lanes_of
from .batch import active_rows, find_targets, source_finder
from .cell_code import CellCode
from .panels import Round, panel_outputs, panel_update
from .sums import converted_rows, panel_sums

BLOCK_ROWS = 24  # rows of a product over a block of steps: full tiles


def _round(code: CellCode) -> Any:
    """`compute_round` for a cell, for compiled kernels to call."""
    sum_panel, update_panel = panel_sums(code), panel_update(code)
    finish_panel, rounds = panel_outputs(code), code.rounds
    convert_operands = converted_rows(code)

    @inlined
    def compute_chunk(
        batch: Any, layer: Any, scratch: Any, team: Any, now: Any, chunk: int, end: int
    ) -> None:
        """Compute one chunk of panels, and announce it to the other threads."""
        first = chunk_end(team, chunk - 1, layer.panels)
        last = chunk_end(team, chunk, layer.panels)
        together = max(last - first, 1) if now.block > 1 else 1
        # With few rows, announce the chunk first and write its outputs afterwards. Not in the last
        # step, whose announcement means that nothing is left to do; nor while gates have to be
        # saved from z, where a next block of another size moves the panels.
        early = now.block > 1 and chunk == team.thread and now.k + 1 < end
        early = early and not (batch.save_gates and now.number + 1 == now.block * rounds)
        for left in range(first, max(first + 1, last), together):
            right = min(left + together, last)
            # One row is bound by latency: let the next panel's products overlap with its update.
            each = 1 if now.rows == 1 else together
            for begin in range(left, right, each):
                end_of_each = min(begin + each, right)
                for place in range(begin, end_of_each):
                    sum_panel(batch, layer, scratch, now, zigzag(first, place, last, now.phase))
                for place in range(begin, end_of_each):
                    update_panel(batch, layer, scratch, now, zigzag(first, place, last, now.phase))
            if early:
                announce(team, now.phase, chunk)
            if now.part == rounds - 1:
                for place in range(left, right):
                    finish_panel(batch, layer, scratch, now, zigzag(first, place, last, now.phase))
        if not early:
            announce(team, now.phase, chunk)

    @inlined
    def compute_round(
        batch: Any, layer: Any, scratch: Any, team: Any, now: Any, work: int, end: int
    ) -> bool:
        """Compute chunks until the round is done; returns False if this thread must leave."""
        convert_operands(batch, layer, scratch, now)
        chunk = next_chunk(team, now.phase, NONE, work)
        while chunk not in (DONE, LEAVE):
            compute_chunk(batch, layer, scratch, team, now, chunk, end)
            chunk = next_chunk(team, now.phase, chunk, work)
        return bool(chunk != LEAVE)

    return compute_round


@cache
def time_loop(code: CellCode) -> Any:
    """`run_steps` for a cell, for compiled kernels to call."""
    compute_round, rounds, row_vectors = _round(code), code.rounds, code.tiles.row
    find_sources = source_finder(code.gathered)
    inputs, recurrent = code.layout.inputs, code.layout.recurrent

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
            # Few rows keep the sums of all panels, many rows those of one panel at a time.
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
                if not compute_round(batch, layer, scratch, team, now, work, end):
                    return
            k += block

    return run_steps
