"""A batch as kernels see it: which rows have a step, where it is, where its output goes.

A row is a sequence. Rows stand in the order of the plan, most valid steps first, so that
the rows that still have a step k are always the first ones, and step k means the k-th valid
step of every row: masked steps do not exist here, whatever the mask looks like.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ._compile import inner
from .simd import copy_row, fill_row, prefetch_row


class Batch(NamedTuple):
    """What is computed: flat views of the caller's arrays, and the plan by rank."""

    time: int  # T
    features: int  # F
    units: int  # H
    sequences: bool  # whether `out` is wanted
    has_c: bool  # whether the cell has a second state
    save_states: bool  # whether `h_steps` and `c_steps` are wanted
    save_gates: bool  # whether `gates` are
    out: Any  # real (B, T, H)
    h_last: Any  # real (B, H)
    c_last: Any  # real (B, H)
    h_steps: Any  # real (P, H)
    c_steps: Any  # real (P, H)
    gates: Any  # real (P, 4H)
    x: Any  # real (B, T, F)
    steps: Any  # int64 (P): flat positions
    row: Any  # int64 (B): row of a rank
    first: Any  # int64 (B): where its steps begin
    count: Any  # int64 (B): how many they are
    reverse: bool
    zero_masked: bool


class Scratch(NamedTuple):
    """One thread's own memory. Index arrays are int64, one entry an active row."""

    z: Any  # real: sums of products before activation
    rank: Any  # ranks of the rows of this group
    state: Any  # where their state begins in a plane of h, and in c
    source: Any  # where the rows of x begin that a product reads
    begin: Any  # where a block's steps begin in `source`
    target: Any  # positions that the step's outputs go to
    gap: Any  # how many masked positions follow each


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


@inner
def active_rows(batch: Any, scratch: Any, rows: int, k: int) -> int:
    """How many of the group's first `rows` rows have a step k."""
    while rows > 0 and batch.count[scratch.rank[rows - 1]] <= k:
        rows -= 1
    return rows


@inner
def entry_of(batch: Any, rank: int, k: int) -> int:
    """Index into `steps` of a row's k-th step, in processing order."""
    place = batch.count[rank] - 1 - k if batch.reverse else k
    return int(batch.first[rank] + place)


@inner
def find_sources(batch: Any, scratch: Any, rows: int, k: int, block: int) -> int:
    """List the rows of x of the steps k to k + block; returns how many they are."""
    ahead = -batch.features if batch.reverse else batch.features
    total = 0
    for j in range(block):
        rows = active_rows(batch, scratch, rows, k + j)
        scratch.begin[j] = total
        for i in range(rows):
            source = batch.steps[entry_of(batch, scratch.rank[i], k + j)] * batch.features
            scratch.source[total] = source
            total += 1
            if block == 1:
                # Many rows are more streams than the hardware follows: name their next steps.
                prefetch_row(batch.x, source + ahead, min(batch.features, 32))
    scratch.begin[block] = total
    return total


@inner
def find_targets(batch: Any, scratch: Any, rows: int, k: int) -> None:
    """List where the outputs of step k go."""
    time = batch.time
    for i in range(rows):
        rank = scratch.rank[i]
        start = batch.row[rank] * time
        at = batch.steps[entry_of(batch, rank, k)] - start
        after = time
        if k + 1 < batch.count[rank]:
            after = batch.steps[entry_of(batch, rank, k + 1)] - start
        if batch.reverse:
            at = time - 1 - at
            after = time - 1 - after if k + 1 < batch.count[rank] else time
        scratch.target[i] = start + at
        scratch.gap[i] = after - at - 1


@inner
def write_outputs(
    batch: Any, net: Any, scratch: Any, k: int, rows: int, plane: int, left: int, columns: int
) -> None:
    """Copy h of one vector of units to the outputs, and over the masked positions that follow."""
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


@inner
def save_step(
    batch: Any,
    net: Any,
    scratch: Any,
    k: int,
    rows: int,
    plane: int,
    left: int,
    columns: int,
    z: Any,
    z_start: int,
    lanes: int,
) -> None:
    """Copy states and gates of one vector of units to where the backward pass finds them."""
    units = batch.units
    for i in range(rows):
        entry = entry_of(batch, scratch.rank[i], k)
        state = scratch.state[i] + left
        copy_row(batch.h_steps, entry * units + left, net.h, plane + state, columns)
        if batch.has_c:
            copy_row(batch.c_steps, entry * units + left, net.c, state, columns)
        if batch.save_gates:
            for gate in range(4):
                saved = (entry * 4 + gate) * units + left
                copy_row(batch.gates, saved, z, z_start + (i * 4 + gate) * lanes, columns)


@inner
def write_last(
    batch: Any, net: Any, scratch: Any, k: int, rows: int, plane: int, left: int, columns: int
) -> None:
    """Copy one vector of units of the rows whose last step was k."""
    for i in range(rows - 1, -1, -1):
        rank = scratch.rank[i]
        if batch.count[rank] > k + 1:
            break  # ranks before it are as long
        last = batch.row[rank] * batch.units + left
        state = scratch.state[i] + left
        copy_row(batch.h_last, last, net.h, plane + state, columns)
        if batch.has_c:
            copy_row(batch.c_last, last, net.c, state, columns)
