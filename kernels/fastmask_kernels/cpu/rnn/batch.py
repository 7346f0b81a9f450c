"""A batch as kernels see it: which rows have a step, where it is, where its output goes.

A row is a sequence. Rows are in the order of the plan, most valid steps first, so the rows that
still have a step k are always the first ones. Step k is the k-th valid step of each row: masked
steps do not exist here, whatever the mask looks like.

A ragged batch has no padding: its rows are concatenated in x, (1, P, F), and row b has the
positions offsets[b] to offsets[b + 1].
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..jit import inlined, inner
from ..simd import (
    copy_row,
    fill_row,
    flat,
    flat_from,
    lanes_of,
    prefetch_row,
    prefetch_row_to_write,
)

RAGGED = -1  # instead of T


class Batch(NamedTuple):
    """What is computed: flat views of the caller's arrays, and the plan by rank."""

    rows: int  # B
    time: int  # T, or RAGGED
    features: int  # F
    units: int  # H
    sequences: bool  # whether `out` is wanted
    others: int  # states besides h; each of their arrays holds them one after the other
    save_states: bool  # whether the states of all steps are wanted
    save_gates: bool  # whether `gates` are wanted
    blocks: int  # of `gates`
    out: Any  # real (B, T, H)
    h_last: Any  # real (B, H)
    others_last: Any  # real (others, B, H)
    h_steps: Any  # real (P, H)
    others_steps: Any  # real (others, P, H)
    gates: Any  # real (P, blocks * H)
    x: Any  # real (B, T, F), or a table (V, F) from which `ids` selects rows
    ids: Any  # int64 (B, T), where there is a table
    places: int  # P
    steps: Any  # int64 (P): flat positions
    offsets: Any  # int64 (B + 1): where the steps of a row begin
    order: Any  # int64 (B): row of a rank
    reverse: bool
    zero_masked: bool


class Scratch(NamedTuple):
    """One thread's scratch memory. Index arrays are int64, with an entry for each row."""

    z: Any  # real: sums of products before activation
    operands: Any  # real: converted rows, see `sums`
    row: Any  # the rows of this group, longest first
    first: Any  # where their steps begin
    count: Any  # their numbers of steps
    state: Any  # where their state begins in a plane
    source: Any  # where the rows of x begin, for a product
    begin: Any  # where a block's steps begin in `source`
    target: Any  # positions that the step's outputs go to
    gap: Any  # how many masked positions follow each


@inlined
def scratch_of(z: Any, operands: Any, integers: Any, index: int, entries: int) -> Any:
    """Scratch memory with its index arrays in `integers`, from `index` on."""
    return Scratch(
        z,
        operands,
        flat_from(integers, index),
        flat_from(integers, index + entries),
        flat_from(integers, index + 2 * entries),
        flat_from(integers, index + 3 * entries),
        flat_from(integers, index + 4 * entries),
        flat_from(integers, index + 5 * entries),
        flat_from(integers, index + 6 * entries),
        flat_from(integers, index + 7 * entries),
    )


@inner
def begin_rows(
    batch: Any, layer: Any, scratch: Any, taken: int, h_first: Any, others_first: Any
) -> None:
    """Load the rows' initial states; for rows without steps they are the final ones too."""
    units, width, states = batch.units, lanes_of(layer.states), layer.states
    for n in range(batch.others + 1):
        first, last = (h_first, batch.h_last) if n == 0 else (others_first, batch.others_last)
        plane, row = (0, 0) if n == 0 else ((n + 1) * layer.plane, (n - 1) * batch.rows)
        for i in range(taken):
            at, start = plane + scratch.state[i], (row + scratch.row[i]) * units
            for left in range(0, units, width):
                columns = width if width < units - left else units - left
                fill_row(states, at + left, width)
                copy_row(states, at + left, first, start + left, columns)
                if scratch.count[i] == 0:
                    copy_row(last, start + left, first, start + left, columns)


@inner
def copy_all(target: Any, source: Any) -> None:
    """Copy one array to another."""
    to, values = flat(target), flat(source)
    for i in range(target.size):
        to[i] = values[i]


@inner
def clear(target: Any) -> None:
    """Fill an array with zeros."""
    to = flat(target)
    for i in range(target.size):
        to[i] = 0


@inner
def active_rows(scratch: Any, rows: int, k: int) -> int:
    """How many of the group's first `rows` rows have a step k."""
    while rows > 0 and scratch.count[rows - 1] <= k:
        rows -= 1
    return rows


@inner
def entry_of(batch: Any, first: int, count: int, k: int) -> int:
    """Index into `steps` of a row's k-th step, in processing order."""
    return int(first + (count - 1 - k if batch.reverse else k))


def source_finder(gathered: bool) -> Any:
    """`find_sources`, for rows of x or of a table, for compiled kernels to call."""

    @inner
    def source_of(batch: Any, entry: int) -> int:
        """Where a step's row begins."""
        step = batch.steps[entry]
        return int((batch.ids[step] if gathered else step) * batch.features)

    @inner
    def prefetch_next(batch: Any, scratch: Any, source: int, i: int, k: int) -> None:
        """Prefetch the row of the step after k, or the beginning of that row."""
        if gathered:
            first, count = scratch.first[i], scratch.count[i]
            following = entry_of(batch, first, count, min(k + 1, count - 1))
            prefetch_row(batch.x, source_of(batch, following), batch.features)
        else:
            ahead = -batch.features if batch.reverse else batch.features
            prefetch_row(batch.x, source + ahead, min(batch.features, 32))

    @inner
    def find_sources(batch: Any, scratch: Any, rows: int, k: int, block: int) -> int:
        """List the rows of the steps k to k + block; returns how many there are."""
        total = 0
        for j in range(block):
            rows = active_rows(scratch, rows, k + j)
            scratch.begin[j] = total
            for i in range(rows):
                entry = entry_of(batch, scratch.first[i], scratch.count[i], k + j)
                source = source_of(batch, entry)
                scratch.source[total] = source
                total += 1
                if block == 1:
                    # Many rows are more streams than the hardware prefetcher follows.
                    prefetch_next(batch, scratch, source, i, k + j)
        scratch.begin[block] = total
        return total

    return find_sources


def time_of(x: Any, rows: int) -> int:
    """T, or RAGGED if the rows are concatenated."""
    return int(x.shape[1]) if len(x) == rows else RAGGED


@inlined
def row_start(offsets: Any, time: int, row: int) -> int:
    """Flat position of a row's first step, valid or not; a row ends where the next one starts."""
    return int(offsets[row] if time == RAGGED else row * time)


@inner
def output_position(batch: Any, row: int, position: int) -> int:
    """Flat position of the output of the step at a flat position of x."""
    if not batch.reverse:
        return int(position)
    start = row_start(batch.offsets, batch.time, row)
    return int(start + row_start(batch.offsets, batch.time, row + 1) - 1 - position)


@inner
def find_targets(batch: Any, scratch: Any, rows: int, k: int) -> None:
    """List where the outputs of step k go."""
    for i in range(rows):
        row, first, count = scratch.row[i], scratch.first[i], scratch.count[i]
        target = output_position(batch, row, batch.steps[entry_of(batch, first, count, k)])
        after = row_start(batch.offsets, batch.time, row + 1)
        if k + 1 < count:
            after = output_position(batch, row, batch.steps[entry_of(batch, first, count, k + 1)])
        scratch.target[i] = target
        scratch.gap[i] = after - target - 1


@inner
def await_outputs(batch: Any, scratch: Any, rows: int, left: int, columns: int) -> None:
    """Prefetch the output lines of one vector; they are far apart."""
    for i in range(rows):
        prefetch_row_to_write(batch.out, scratch.target[i] * batch.units + left, columns)


@inner
def write_outputs(
    batch: Any, layer: Any, scratch: Any, rows: int, plane: int, left: int, columns: int
) -> None:
    """Copy h of one vector of units to the outputs."""
    for i in range(rows):
        target = scratch.target[i] * batch.units + left
        copy_row(batch.out, target, layer.states, plane + scratch.state[i] + left, columns)


@inner
def fill_masked(batch: Any, row: int) -> None:
    """Write a row's masked outputs: zeros, or the output before them.

    Called after the last step, for whole rows: panel by panel within the steps took twice as long.
    """
    first, count = batch.offsets[row], batch.offsets[row + 1] - batch.offsets[row]
    position = row * batch.time
    last = position - 1
    for k in range(count + 1):
        step = (row + 1) * batch.time
        if k < count:
            step = output_position(batch, row, batch.steps[entry_of(batch, first, count, k)])
        while position < step:
            _write_masked(batch, position * batch.units, last * batch.units, k == 0)
            position += 1
        last = step
        position += 1


@inner
def _write_masked(batch: Any, target: int, source: int, first: bool) -> None:
    units, lanes = batch.units, lanes_of(batch.out)
    columns = min(lanes, units)
    for begin in range(0, units, lanes):
        left = min(begin, units - columns)  # overlapping whole vectors are faster than partial ones
        if batch.zero_masked or first:
            fill_row(batch.out, target + left, columns)
        else:
            copy_row(batch.out, target + left, batch.out, source + left, columns)


@inner
def save_step(
    batch: Any,
    layer: Any,
    scratch: Any,
    k: int,
    rows: int,
    plane: int,
    left: int,
    columns: int,
    z: Any,
    z_start: int,
    row_size: int,
    apart: int,
) -> None:
    """Copy states and gates of one vector of units to where the backward pass finds them."""
    units, states = batch.units, layer.states
    for i in range(rows):
        entry = entry_of(batch, scratch.first[i], scratch.count[i], k)
        at = scratch.state[i] + left
        copy_row(batch.h_steps, entry * units + left, states, plane + at, columns)
        for n in range(batch.others):
            to = (n * batch.places + entry) * units + left
            copy_row(batch.others_steps, to, states, (n + 2) * layer.plane + at, columns)
        if batch.save_gates:
            for block in range(batch.blocks):
                to = (entry * batch.blocks + block) * units + left
                copy_row(batch.gates, to, z, z_start + i * row_size + block * apart, columns)


@inner
def write_last(
    batch: Any, layer: Any, scratch: Any, k: int, rows: int, plane: int, left: int, columns: int
) -> None:
    """Copy the final states of rows whose last step was k, for one vector of units."""
    units, states = batch.units, layer.states
    for i in range(rows - 1, -1, -1):
        if scratch.count[i] > k + 1:
            break  # the rows before it are at least as long
        row, at = scratch.row[i], scratch.state[i] + left
        copy_row(batch.h_last, row * units + left, states, plane + at, columns)
        for n in range(batch.others):
            last = (n * batch.rows + row) * units + left
            copy_row(batch.others_last, last, states, (n + 2) * layer.plane + at, columns)
