"""The time loop: which rows a step has, which weights it meets, who computes what.

A row is a sequence. Rows stand in the order of the plan, most valid steps first, so that
the rows that still have a step k are always the first ones, and step k means the k-th valid
step of every row: masked steps do not exist here, whatever the mask looks like.

State. `h` has two planes (rows, padded units): step k reads plane k % 2 and writes the
other. `c` is updated in place. Padded units have zero weights and stay zero.

Weights. One panel holds one register's width of units, all four gates: first the bias, then
the kernel's rows, then the recurrent kernel's (see `packing`). With few rows the
products with the kernel are done for a block of steps at once, as one wide product that does
not wait for h; the weights are then read once a block instead of once a step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._compile import inlined, inner
from .gemm import PANEL_VECTORS, STRIP_VECTORS, TILE_ROWS, WIDE_ROWS, gemm_tile
from .lstm_cell import lstm_cell
from .simd import copy_row, fill_row, lanes_of, prefetch_row
from .teamwork import DONE, LEAVE, next_panel

BLOCK_ROWS = 24  # rows of a product over a block of steps: four full tiles


class Batch(NamedTuple):
    """What is computed: flat views of the caller's arrays, and the plan by rank."""

    time: int  # T
    features: int  # F
    units: int  # H
    sequences: bool  # whether `out` is wanted
    out: Any  # real (B, T, H)
    h_last: Any  # real (B, H)
    c_last: Any  # real (B, H)
    x: Any  # real (B, T, F)
    steps: Any  # int64 (P): flat positions
    row: Any  # int64 (B): row of a rank
    first: Any  # int64 (B): where its steps begin
    count: Any  # int64 (B): how many they are
    reverse: bool
    zero_masked: bool


class Net(NamedTuple):
    """Weights and state."""

    packed: Any  # real (W)
    h: Any  # real (2 * B * padded H)
    c: Any  # real (B * padded H)
    panels: int
    plane: int  # elements of one plane of h
    activation: int
    recurrent_activation: int


class Scratch(NamedTuple):
    """One thread's own memory. Index arrays are int64, one entry an active row."""

    z: Any  # real: gates before activation
    rank: Any  # ranks of the rows of this group
    state: Any  # where their state begins in a plane of h, and in c
    source: Any  # where the rows of x begin that a product reads
    begin: Any  # where a block's steps begin in `source`
    target: Any  # positions that the step's outputs go to
    gap: Any  # how many masked positions follow each
    mine: Any  # (2): this thread's place among the panels, panels not yet announced


@inner
def _active(batch: Any, scratch: Any, rows: int, k: int) -> int:
    """How many of the group's first `rows` rows have a step k."""
    while rows > 0 and batch.count[scratch.rank[rows - 1]] <= k:
        rows -= 1
    return rows


@inner
def _position(batch: Any, rank: int, k: int) -> int:
    """Flat position of a row's k-th step, in processing order."""
    place = batch.count[rank] - 1 - k if batch.reverse else k
    return int(batch.steps[batch.first[rank] + place])


@inner
def _find_sources(batch: Any, scratch: Any, rows: int, k: int, block: int) -> int:
    """List the rows of x of the steps k to k + block; returns how many they are."""
    ahead = -batch.features if batch.reverse else batch.features
    total = 0
    for j in range(block):
        rows = _active(batch, scratch, rows, k + j)
        scratch.begin[j] = total
        for i in range(rows):
            source = _position(batch, scratch.rank[i], k + j) * batch.features
            scratch.source[total] = source
            total += 1
            if block == 1:
                # Many rows are more streams than the hardware follows: name their next steps.
                prefetch_row(batch.x, source + ahead, min(batch.features, 32))
    scratch.begin[block] = total
    return total


@inner
def _find_targets(batch: Any, scratch: Any, rows: int, k: int) -> None:
    """List where the outputs of step k go."""
    time = batch.time
    for i in range(rows):
        rank = scratch.rank[i]
        start = batch.row[rank] * time
        at = _position(batch, rank, k) - start
        after = time
        if k + 1 < batch.count[rank]:
            after = _position(batch, rank, k + 1) - start
        if batch.reverse:
            at = time - 1 - at
            after = time - 1 - after if k + 1 < batch.count[rank] else time
        scratch.target[i] = start + at
        scratch.gap[i] = after - at - 1


@inner
def _multiply(
    rows: int,
    a: Any,
    a_start: int,
    index: Any,
    depth: int,
    net: Any,
    weights: int,
    init: Any,
    init_start: int,
    init_stride: int,
    z: Any,
    z_start: int,
) -> None:
    """z = init + a[index] @ one panel's weights, in tiles of nearly equal height."""
    width = PANEL_VECTORS * lanes_of(z)
    strip = width if rows <= WIDE_ROWS else STRIP_VECTORS * lanes_of(z)
    for left in range(0, width, strip):
        done = 0
        for tiles_left in range(-(-rows // TILE_ROWS), 0, -1):
            height = -(-(rows - done) // tiles_left)
            gemm_tile(
                height,
                a,
                a_start,
                index,
                done,
                depth,
                net.packed,
                weights + left * depth,
                init,
                init_start + done * init_stride + left,
                init_stride,
                z,
                z_start + done * width + left,
            )
            done += height


@inlined
def _project(
    batch: Any, net: Any, scratch: Any, panel: int, rows: int, z: Any, z_start: int
) -> None:
    """z = bias + x W of one panel, for the rows listed in `source`."""
    width = PANEL_VECTORS * lanes_of(z)
    features, units = batch.features, batch.units
    bias = panel * (1 + features + units) * width
    zero: Any = np.int64(0)  # a literal would compile _multiply once more
    _multiply(
        rows,
        batch.x,
        zero,
        scratch.source,
        features,
        net,
        bias + width,
        net.packed,
        bias,
        zero,
        z,
        z_start,
    )


@inlined
def _recur(
    batch: Any, net: Any, scratch: Any, panel: int, k: int, rows: int, z: Any, z_start: int
) -> None:
    """One step of one panel of units: z += h U, then the cell, then the outputs."""
    lanes = lanes_of(z)
    width = PANEL_VECTORS * lanes
    features, units = batch.features, batch.units
    weights = (panel * (1 + features + units) + 1 + features) * width
    old, new = k % 2 * net.plane, (k + 1) % 2 * net.plane
    _multiply(rows, net.h, old, scratch.state, units, net, weights, z, z_start, width, z, z_start)
    left = panel * lanes
    lstm_cell(
        rows,
        z,
        z_start,
        net.h,
        new + left,
        net.c,
        left,
        scratch.state,
        net.activation,
        net.recurrent_activation,
    )
    columns = min(lanes, units - left)
    if batch.sequences:
        _write_outputs(batch, net, scratch, k, rows, new, left, columns)
    for i in range(rows - 1, -1, -1):
        rank = scratch.rank[i]
        if batch.count[rank] > k + 1:
            break  # ranks before it are as long
        last = batch.row[rank] * units + left
        copy_row(batch.h_last, last, net.h, new + scratch.state[i] + left, columns)
        copy_row(batch.c_last, last, net.c, scratch.state[i] + left, columns)


@inner
def _write_outputs(
    batch: Any, net: Any, scratch: Any, k: int, rows: int, plane: int, left: int, columns: int
) -> None:
    """Copy h of one panel to the outputs, and over the masked positions that follow."""
    units = batch.units
    for i in range(rows):
        target = scratch.target[i]
        h_start = plane + scratch.state[i] + left
        copy_row(batch.out, target * units + left, net.h, h_start, columns)
        if k == 0:
            start = batch.row[scratch.rank[i]] * batch.time
            for position in range(start, target):
                fill_row(batch.out, position * units + left, columns)
        for position in range(target + 1, target + 1 + scratch.gap[i]):
            if batch.zero_masked:
                fill_row(batch.out, position * units + left, columns)
            else:
                copy_row(batch.out, position * units + left, net.h, h_start, columns)


@inlined
def advance(batch: Any, net: Any, scratch: Any, team: Any, rows: int, k: int, end: int) -> None:
    """Run steps k to `end` of the group in `scratch.rank`."""
    width = PANEL_VECTORS * lanes_of(scratch.z)
    mine = scratch.mine
    mine[1] = 0
    phase = 0
    while k < end:
        rows = _active(batch, scratch, rows, k)
        if rows == 0:
            break
        block = 1
        if rows <= BLOCK_ROWS // 2:
            block = min(-(-BLOCK_ROWS // rows), end - k)
        total = _find_sources(batch, scratch, rows, k, block)
        # Phase j of a block is its step j; a block of several steps begins with phase -1,
        # which does the products with x for all of them.
        for j in range(-1 if block > 1 else 0, block):
            begin = scratch.begin[max(j, 0)]
            rows = total if j < 0 else scratch.begin[j + 1] - begin
            if rows == 0:
                break
            if j >= 0:
                _find_targets(batch, scratch, rows, k + j)
            phase += 1
            mine[0] = -1
            while True:
                panel = next_panel(team, mine, phase, net.panels)
                if panel == LEAVE:
                    return
                if panel == DONE:
                    break
                z, z_start = team.z, (panel * total + begin) * width
                if block == 1:
                    z, z_start = scratch.z, 0
                if block == 1 or j < 0:
                    _project(batch, net, scratch, panel, rows, z, z_start)
                if j >= 0:
                    _recur(batch, net, scratch, panel, k + j, rows, z, z_start)
        k += block


@inner
def take_group(scratch: Any, rows: int, group: int, groups: int, stride: int) -> int:
    """Deal ranks to a group, there and back again so that their lengths even out."""
    taken = 0
    for i in range(-(-rows // groups)):
        rank = i * groups + (group if i % 2 == 0 else groups - 1 - group)
        if rank < rows:
            scratch.rank[taken] = rank
            scratch.state[taken] = rank * stride
            taken += 1
    return taken
