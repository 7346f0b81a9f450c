"""One step of many rows, in place: only of those that have an event.

A part is a few dozen of these rows. Their states are gathered into scratch memory that a cache
holds, where a time loop of one step (see `forward`) finds them; it writes the new ones back to
where they came from. Rows are found by walking the flags, so nothing grows with their number.

Threads take parts. Where so few rows have an event that reading the weights is what takes the
time, all threads work on one part, and share its panels of weights.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ...checks import checked
from ...memory import aligned_empty
from ..jit import CompiledKernel, array, compiled, inner, output
from ..packing import Array, packed_size, vectors_of
from ..parallel.atomics import atomic_add
from ..parallel.barrier import GROUPS_DONE, NEXT_GROUP, Team, arrive, control_size, wait_for
from ..parallel.pool import run_shared, who_helps
from ..parallel.queue import ALONE, LEFT, UNSHARED, post
from ..parallel.schedule import share
from ..simd import copy_row, fill_row, flat, lanes, lanes_of, prefetch_row
from . import gru, lstm
from . import simple_rnn as rnn
from .activations import CODES
from .batch import Batch, Scratch
from .forward import Cell, Net, count_panels, panels_of, time_loop

Bools = NDArray[np.bool_]

# Most rows of a part that one thread has for itself. With 24 to 384 a step took the same time
# within 8 %, for 32 to 512 units; more rows serve weights that come from far away.
PART_ROWS = 96
KEPT_BYTES = 1 << 22  # most bytes of each array that a thread keeps from call to call
_INDICES = 9  # index arrays of a thread: those of `Scratch` and of `Part`
_i8 = types.int64


class Part(NamedTuple):
    """The rows of a part."""

    events: Any  # rows, which are positions of steps too
    walk: Any  # (2): the next row to look at, events passed


class Settings(NamedTuple):
    """Plain numbers of a call."""

    activation: int
    recurrent_activation: int
    members: int
    joined: int  # whether all members work on one part
    parts: int
    rows: int  # most rows of a part
    length: int  # of an index array
    size: int  # elements of a part's states, and of its sums where a cell keeps them
    z: int  # elements of a member's sums, where it does not


@inner
def _list_events(part: Any, valid: Any, rows: int, first: int, most: int) -> int:
    """List the rows of events `first` to `first + most`; returns how many there are.

    `part.walk` holds the next row to look at, and the events before it.
    """
    everybody = len(valid) == 0
    row, passed = part.walk[0], part.walk[1]
    if everybody:
        row, passed = first, first
    taken = 0
    while row < rows and taken < most:
        if everybody or valid[row]:
            if passed >= first:
                part.events[taken] = row
                taken += 1
            passed += 1
        row += 1
    part.walk[0], part.walk[1] = row, passed
    return taken


@inner
def _gather(part: Any, net: Any, batch: Any, taken: int, stride: int) -> None:
    """Copy the states of the rows that were listed to places of their own."""
    width = lanes_of(net.h)
    for i in range(taken):
        row, at = part.events[i], i * stride
        prefetch_row(batch.x, row * batch.features, batch.features)
        for left in range(0, stride, width):
            columns = min(width, batch.units - left)
            if columns < width:  # what fills up a register need not become infinite or tiny
                fill_row(net.h, at + left, width)
                fill_row(net.c, at + left, width)
            copy_row(net.h, at + left, batch.h_last, row * batch.units + left, columns)
            if batch.has_c:
                copy_row(net.c, at + left, batch.c_last, row * batch.units + left, columns)


def _step_signature(t: Any) -> Any:
    return _i8(
        *(output(t, 2), output(t, 2), output(t, 1), output(_i8, 1), output(_i8, 1)),
        *(array(t, 2), array(types.boolean, 1), array(t, 1)),
        types.NamedUniTuple(_i8, len(Settings._fields), Settings),
        *(output(_i8, 1), _i8, _i8),
    )


def compile_step(cell: Cell) -> CompiledKernel:
    """The kernel of a cell: one thread's share of a call."""
    advance = time_loop(cell)
    panel_vectors = cell.panel

    @compiled(_step_signature, f"{cell.name}{cell.rounds}")
    def step(
        h: Any,
        c: Any,
        memory: Any,
        indices: Any,
        control: Any,
        x: Any,
        valid: Any,
        packed: Any,
        settings: Any,
        board: Any,
        help_from: int,
        member: int,
    ) -> int:
        """Parts one after the other, each alone; or one, together."""
        members, joined, most = settings.members, settings.joined != 0, settings.rows
        size, length = settings.size, settings.length
        areas = 1 if joined else members  # a part has one
        zero: Any = np.int64(0)  # literals would compile what they are given to anew
        one: Any = np.int64(1)
        rows, features = x.shape
        vectors = -(-h.shape[1] // lanes_of(memory))
        stride = vectors * lanes_of(memory)
        plane = most * stride
        states = memory if joined else memory[member * size :]
        net = Net(
            flat(packed),
            flat(states),
            flat(states[2 * plane :]),
            count_panels(vectors, panel_vectors, members if joined else one),
            vectors,
            plane,
            settings.activation,
            settings.recurrent_activation,
            zero,
        )
        own = indices[member * _INDICES * length :]
        scratch = Scratch(
            flat(memory[areas * size + member * settings.z :]),
            flat(own),
            flat(own[length:]),
            flat(own[2 * length :]),
            flat(own[3 * length :]),
            flat(own[4 * length :]),
            flat(own[5 * length :]),
            flat(own[6 * length :]),
            flat(own[7 * length :]),
        )
        part = Part(scratch.row, flat(own[8 * length :]))
        nothing = flat(memory)
        batch = Batch(
            one,
            features,
            h.shape[1],
            False,
            c.shape[1] > 0,
            False,
            False,
            nothing,
            flat(h),
            flat(c),
            nothing,
            nothing,
            nothing,
            flat(x),
            part.events,  # the only step of the i-th row is the i-th
            part.events,
            part.events,
            False,
            False,
        )
        for i in range(most):
            scratch.first[i], scratch.count[i], scratch.state[i] = i, 1, i * stride
        part.walk[0], part.walk[1] = 0, 0
        taken = _list_events(part, valid, rows, zero, most) if joined else zero
        if help_from >= 0:  # this is the caller, and nobody writes new states yet
            _gather(part, net, batch, taken, stride)
        ended = post(board, help_from, control, members, member)
        if ended != UNSHARED:
            return int(ended)
        arrive(control, member)
        counters, block = flat(control), flat(states[3 * plane :])
        if joined:
            team = Team(counters, block, member, members)
        else:
            team = Team(counters, block, zero, one)
        while True:
            if not joined:
                number = atomic_add(counters, NEXT_GROUP, 1)
                if number >= settings.parts:
                    break
                taken = _list_events(part, valid, rows, number * most, most)
                _gather(part, net, batch, taken, stride)
            advance(batch, net, scratch, team, taken, zero, one)
            if joined:
                break
            atomic_add(counters, GROUPS_DONE, 1)
        if not joined:
            wait_for(counters, GROUPS_DONE, settings.parts)
        return LEFT

    return step


class _Kept(threading.local):
    """Scratch memory that a thread keeps from call to call, an array for each dtype."""

    def __init__(self) -> None:
        self._arrays: dict[np.dtype[Any], NDArray[Any]] = {}

    def take(self, size: int, dtype: Any) -> NDArray[Any]:
        """At least `size` elements, which nobody else has."""
        kept = self._arrays.pop(dtype, None)
        return kept if kept is not None and len(kept) >= size else aligned_empty(size, dtype)

    def give_back(self, *arrays: NDArray[Any]) -> None:
        """Keep them for the next call, unless they are large."""
        for one in arrays:
            if one.nbytes <= KEPT_BYTES:
                self._arrays[one.dtype] = one


_kept = _Kept()
_INT64 = np.dtype(np.int64)


def _one_step(_rank: int) -> int:
    """The number of steps of each row, for `share`."""
    return 1


def run_step(
    cell: Cell,
    work: CompiledKernel,
    states: tuple[Array, Array],
    x: Array,
    valid: Bools,
    packed: Array,
    activations: tuple[str, str],
    threads: int,
) -> None:
    """Go one step further, in place.

    Args:
        cell: the cell.
        work: from `compile_step`, for this cell.
        states: h and c, (B, H) each; c is (B, 0) for a cell without one.
        x: (B, F).
        valid: (B,), or without entries where all rows have an event.
        packed: weights in the cell's layout.
        activations: of the state and of the gates.
        threads: at most so many.

    Raises:
        ValueError: the packed weights do not fit.
    """
    (rows, features), units, dtype = x.shape, states[0].shape[1], x.dtype
    if len(packed) != packed_size(cell.layout, features, units, dtype):
        raise ValueError(
            f"packed must come from {cell.name}_pack for {features} features, {units} units"
        )
    events = int(np.count_nonzero(valid)) if len(valid) else rows
    if not (events and units):
        return
    gates, vectors = cell.layout.recurrent, vectors_of(units, dtype)
    shares = share(_one_step, events, events, features, units, gates, dtype.itemsize, threads)
    joined = shares.members > 1 and shares.join == 0
    parts = 1 if joined else max(shares.groups, -(-events // PART_ROWS))
    most = -(-events // parts)
    width, row = lanes(dtype), cell.tiles.row * lanes(dtype)
    sums = panels_of(vectors, cell.panel, 1) * row if cell.rounds > 1 else 0
    settings = Settings(
        CODES[activations[0]],
        CODES[activations[1]],
        shares.members,
        int(joined),
        parts,
        most,
        max(most, 2),
        most * (3 * vectors * width + sums),
        0 if sums else most * row,
    )
    areas = 1 if joined else shares.members
    memory = _kept.take(areas * settings.size + shares.members * settings.z, dtype)
    indices = _kept.take(shares.members * _INDICES * settings.length, _INT64)
    control = np.zeros(control_size(shares.members), np.int64)
    kernel = work.for_dtype(dtype)
    help_from = who_helps(shares.members, shares.patient)
    if help_from == ALONE:
        settings = settings._replace(members=1, joined=0)
    arguments = (*states, memory, indices, control, x, valid, packed, settings)
    if run_shared(kernel, arguments, help_from, control) == LEFT:
        _kept.give_back(memory, indices)


_lstm = compile_step(lstm._CELL)
_gru = compile_step(gru._CELL)
_gru_in_rounds = compile_step(gru._CELL_IN_ROUNDS)
_rnn = compile_step(rnn._CELL)


@checked
def lstm_step(
    h: Array,
    c: Array,
    x: Array,
    valid: Bools,
    packed: Array,
    activation: str,
    recurrent_activation: str,
    threads: int,
) -> None:
    """See `spec`."""
    run_step(
        lstm._CELL, _lstm, (h, c), x, valid, packed, (activation, recurrent_activation), threads
    )


@checked
def gru_step(
    h: Array,
    x: Array,
    valid: Bools,
    packed: Array,
    activation: str,
    recurrent_activation: str,
    reset_after: bool,
    threads: int,
) -> None:
    """See `spec`."""
    run_step(
        gru._CELL if reset_after else gru._CELL_IN_ROUNDS,
        _gru if reset_after else _gru_in_rounds,
        (h, h[:, :0]),
        x,
        valid,
        packed,
        (activation, recurrent_activation),
        threads,
    )


@checked
def rnn_step(
    h: Array, x: Array, valid: Bools, packed: Array, activation: str, threads: int
) -> None:
    """See `spec`."""
    run_step(rnn._CELL, _rnn, (h, h[:, :0]), x, valid, packed, (activation, activation), threads)
