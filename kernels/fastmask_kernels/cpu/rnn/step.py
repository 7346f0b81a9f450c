"""One step of many rows, in place, for those rows only that have an event.

A part is a few dozen of these rows. Their states are gathered into scratch memory that fits in the
cache. A time loop of one step (see `forward`) works there, and writes the new states back to the
rows. Rows are found by scanning the flags, so no memory grows with their number.

Each thread takes one part at a time. Where so few rows have an event that most of the time goes
into reading the weights, all threads work on one part, and share its panels of weights.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ...memory import aligned_empty
from ...packed import wrong_packed
from ..jit import CompiledKernel, array, compiled, inlined, inner, output
from ..packing import packed_size, vectors_of
from ..parallel.atomics import atomic_add
from ..parallel.barrier import GROUPS_DONE, NEXT_GROUP, Team, arrive, control_size, wait_for
from ..parallel.queue import LEFT, UNSHARED, submit
from ..parallel.run import reserve, run
from ..simd import copy_row, fill_row, flat, flat_from, lanes, lanes_of, prefetch_row
from .activations import codes_of
from .batch import Batch, scratch_of
from .cell_code import CellCode
from .forward import time_loop
from .panels import Layer, count_panels, panels_of
from .sums import operands_size

# Most rows of a part that one thread computes alone. From 24 to 384 rows the time of a step stays
# within 8 %, for 32 to 512 units; more rows help where weights come from distant memory.
PART_ROWS = 96
KEPT_BYTES = 1 << 22  # most bytes of each array that a thread keeps from call to call
_INDICES = 9  # index arrays of a thread: those of `Scratch` and of `Part`
_i8 = types.int64


class Part(NamedTuple):
    """The rows of a part."""

    events: Any  # rows with an event, which are positions of steps too
    walk: Any  # (2): the next row to look at, the events before it


class Settings(NamedTuple):
    """Plain numbers of a call."""

    activation: int
    recurrent_activation: int
    bounded: int  # see `panels.Layer`
    batch: int  # rows of the batch
    threads: int
    joined: int  # whether all threads work on one part
    parts: int
    rows: int  # most rows of a part
    length: int  # of an index array
    size: int  # elements of a part's states, and of its sums where a cell keeps them
    z: int  # elements of a thread's converted rows, and of its sums where `size` has none
    operands: int  # elements of its converted rows alone


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
def _gather(part: Any, layer: Any, batch: Any, taken: int, stride: int) -> None:
    """Copy the states of the listed rows to consecutive slots."""
    for i in range(taken):
        row, at = part.events[i], i * stride
        prefetch_row(batch.x, row * batch.features, batch.features)
        _gather_row(layer.states, at, batch.h_last, row, batch.units)
        for n in range(batch.others):
            place = (n + 2) * layer.plane + at
            _gather_row(layer.states, place, batch.others_last, n * batch.rows + row, batch.units)


@inner
def _gather_row(states: Any, at: int, source: Any, row: int, units: int) -> None:
    width = lanes_of(states)
    for left in range(0, units, width):
        columns = min(width, units - left)
        if columns < width:  # padding must not become infinite or denormal
            fill_row(states, at + left, width)
        copy_row(states, at + left, source, row * units + left, columns)


@inlined
def _batch_of(h: Any, others: Any, x: Any, nothing: Any, events: Any) -> Any:
    one: Any = np.int64(1)  # a literal would make its callees compile once more
    return Batch(
        h.shape[0],
        one,
        x.shape[1],
        h.shape[1],
        False,
        others.shape[0] // max(h.shape[0], 1),
        False,
        False,
        one,
        nothing,
        flat(h),
        flat(others),
        nothing,
        nothing,
        nothing,
        flat(x),
        events,
        one,
        events,  # the only step of the i-th row is the i-th
        events,
        events,
        False,
        False,
    )


def _part_loop(code: CellCode) -> Any:
    """`run_parts` for a cell, for compiled kernels to call."""
    run_steps = time_loop(code)

    @inlined
    def run_parts(
        batch: Any,
        layer: Any,
        scratch: Any,
        part: Any,
        team: Any,
        valid: Any,
        settings: Any,
        taken: int,
        stride: int,
    ) -> None:
        """Run parts one after the other on this thread, or the one gathered part on all."""
        zero: Any = np.int64(0)
        joined, most = settings.joined != 0, settings.rows
        while True:
            if not joined:
                number = atomic_add(team.control, NEXT_GROUP, 1)
                if number >= settings.parts:
                    break
                taken = _list_events(part, valid, settings.batch, number * most, most)
                _gather(part, layer, batch, taken, stride)
            run_steps(batch, layer, scratch, team, taken, zero, zero + 1)
            if joined:
                break
            atomic_add(team.control, GROUPS_DONE, 1)
        if not joined:
            wait_for(team.control, GROUPS_DONE, settings.parts)

    return run_parts


def _signature(t: Any) -> Any:
    return _i8(
        *(output(t, 2), output(t, 2), array(t, 2), array(types.boolean, 1), array(t, 1)),
        *(output(t, 1), output(_i8, 1), output(_i8, 1)),
        types.UniTuple(_i8, len(Settings._fields)),
        *(output(_i8, 1), _i8, _i8),
    )


def step_kernel(code: CellCode) -> CompiledKernel:
    """The kernel of a cell: one thread's part of a call."""
    run_parts, panel_vectors, planes = _part_loop(code), code.panel, code.planes

    @compiled(_signature, code.name)
    def step(
        h: Any,
        others: Any,
        x: Any,
        valid: Any,
        packed: Any,
        memory: Any,
        indices: Any,
        control: Any,
        numbers: Any,
        queue: Any,
        provider: int,
        thread: int,
    ) -> int:
        settings = Settings(*numbers)
        threads, joined, most = settings.threads, settings.joined != 0, settings.rows
        zero: Any = np.int64(0)  # a literal would make its callees compile once more
        sharing = threads if joined else zero + 1  # threads that share a part
        vectors = -(-h.shape[1] // lanes_of(memory))
        stride = vectors * lanes_of(memory)
        plane = most * stride
        states = zero if joined else thread * settings.size
        layer = Layer(
            flat(packed),
            flat_from(memory, states),
            count_panels(vectors, panel_vectors, sharing),
            vectors,
            plane,
            settings.activation,
            settings.recurrent_activation,
            zero,
            settings.bounded,
        )
        z = (1 if joined else threads) * settings.size + thread * settings.z
        index = thread * _INDICES * settings.length
        operands = flat_from(memory, z + settings.z - settings.operands)
        scratch = scratch_of(flat_from(memory, z), operands, flat(indices), index, settings.length)
        part = Part(scratch.row, flat_from(indices, index + (_INDICES - 1) * settings.length))
        batch = _batch_of(h, others, x, flat(memory), part.events)
        for i in range(most):
            scratch.first[i], scratch.count[i], scratch.state[i] = i, 1, i * stride
        part.walk[0], part.walk[1] = 0, 0
        taken = _list_events(part, valid, settings.batch, zero, most) if joined else zero
        if provider >= 0:  # the caller, before any thread writes new states
            _gather(part, layer, batch, taken, stride)
        ended = submit(queue, provider, control, threads, thread)
        if ended != UNSHARED:
            return int(ended)
        block, number = flat_from(memory, states + planes * plane), thread if joined else zero
        team = Team(flat(control), block, number, sharing)
        arrive(team.control, thread)
        run_parts(batch, layer, scratch, part, team, valid, settings, taken, stride)
        return LEFT

    return step


class _Kept(threading.local):
    """Scratch memory that a thread keeps from call to call, an array for each dtype."""

    def __init__(self) -> None:
        self._arrays: dict[np.dtype[Any], NDArray[Any]] = {}

    def take(self, size: int, dtype: Any) -> NDArray[Any]:
        """An array of at least `size` elements, in use nowhere else."""
        kept = self._arrays.pop(dtype, None)
        return kept if kept is not None and len(kept) >= size else aligned_empty(size, dtype)

    def give_back(self, *arrays: NDArray[Any]) -> None:
        """Keep them for the next call, unless they are large."""
        for one in arrays:
            if one.nbytes <= KEPT_BYTES:
                self._arrays[one.dtype] = one


_kept = _Kept()
_INT64 = np.dtype(np.int64)


def _one_step(_plan: None, _rank: int) -> int:
    """The number of steps of each row, for `make_schedule`."""
    return 1


def run_step(code: CellCode, work: CompiledKernel, call: Any) -> None:
    """Run a step kernel of the table.

    Args:
        code: the cell.
        work: from `step_kernel`, for this cell.
        call: its arguments.

    Raises:
        ValueError: the packed weights do not fit.
    """
    h, x, valid, packed = call[0], call.x, call.valid, call.packed
    number = len(code.cell.states) - 1
    others = call[1] if number == 1 else h[:0]
    if number > 1:
        others = np.concatenate(call[1 : number + 1])
    (rows, features), units, dtype = x.shape, h.shape[1], x.dtype
    needed = packed_size(code.layout, features, units, dtype)
    if len(packed) != needed:
        pack = f"{type(call).__name__.rpartition('_')[0]}_pack"
        raise wrong_packed(pack, features, units, needed, len(packed))
    events = int(np.count_nonzero(valid)) if len(valid) else rows
    if not (events and units):
        return
    vectors = vectors_of(units, dtype)
    schedule, provider = reserve(
        *(_one_step, None, events, events, features, units, code.layout.recurrent),
        *(code.weight_bytes(dtype), call.threads),
    )
    threads = schedule.threads
    joined = threads > 1 and schedule.join == 0
    parts = 1 if joined else max(schedule.groups, -(-events // PART_ROWS))
    most = -(-events // parts)
    width, row = lanes(dtype), code.tiles.row * lanes(dtype)
    sums = panels_of(vectors, code.panel, 1) * row if code.rounds > 1 else 0
    length, size = max(most, 2), most * (code.planes * vectors * width + sums)
    operands = operands_size(code, features, units, width, most, most)
    z = operands + (0 if sums else most * row)
    settings = (
        *(*codes_of(call), code.is_bounded(*codes_of(call)), rows, threads, int(joined), parts),
        *(most, length, size, z, operands),
    )
    memory = _kept.take((1 if joined else threads) * size + threads * z, dtype)
    indices = _kept.take(threads * _INDICES * length, _INT64)
    control = np.zeros(control_size(threads), np.int64)
    arguments = h, others, x, valid, packed, memory, indices, control, settings
    if run(work.for_dtype(dtype), arguments, provider, control) == LEFT:
        _kept.give_back(memory, indices)
    if number > 1:
        for state, new in zip(call[1:], np.split(others, number)):
            state[:] = new
