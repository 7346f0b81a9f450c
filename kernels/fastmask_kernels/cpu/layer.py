"""One call of a recurrent layer's forward kernel: its plan, its memory, its threads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..memory import spare
from ._compile import CompiledKernel, array, compiled, output
from .activations import CODES
from .atomics import atomic_add
from .batch import Batch, Scratch, take_group
from .handoff import post, withdraw
from .packing import Array, packed_size, vectors_of
from .ranks import raise_fault, rank_rows
from .recurrent import BLOCK_ROWS, Cell, Net, panels_of, time_loop
from .sharing import alone, share
from .simd import aligned_start, flat, lanes, lanes_of
from .teamwork import GROUPS_DONE, NEXT_GROUP, Team, arrive, control_size, wait_for_groups
from .threads import ALONE, reserve, run_shared

Ints = NDArray[np.int64]

INDEX_ROWS = 6  # index arrays of a thread, see `batch.Scratch`
_i8 = types.int64


@compiled(
    lambda t: _i8(
        *(output(t, 3), output(t, 2), output(t, 2), output(_i8, 2), output(t, 1)),
        *(array(_i8, 1), array(_i8, 1), array(_i8, 1), array(t, 2), array(t, 2), _i8),
    )
)
def _begin(
    out: Any,
    h_last: Any,
    c_last: Any,
    ranks: Any,
    state: Any,
    offsets: Any,
    steps: Any,
    order: Any,
    h_first: Any,
    c_first: Any,
    time: int,
) -> int:
    """Set out the plan by rank, the first state, and rows without steps; 0 for a sound plan.

    Cells without c give c_last and c_first no columns.
    """
    rows, units = h_first.shape
    stride = -(-units // lanes_of(state)) * lanes_of(state)
    state = state[aligned_start(state) :]
    fault = rank_rows(ranks, offsets, steps, order, time)
    if fault != 0:
        return int(fault)
    for rank in range(rows):
        row, count = ranks[0, rank], ranks[2, rank]
        h, c = rank * stride, (2 * rows + rank) * stride
        for unit in range(stride):
            state[h + unit] = h_first[row, unit] if unit < units else 0
        for unit in range(stride if c_first.shape[1] > 0 else 0):
            state[c + unit] = c_first[row, unit] if unit < units else 0
        if count == 0:
            for unit in range(units):
                h_last[row, unit] = h_first[row, unit]
            for unit in range(c_first.shape[1]):
                c_last[row, unit] = c_first[row, unit]
            for position in range(out.shape[1]):
                for unit in range(units):
                    out[row, position, unit] = 0
    return 0


class Settings(NamedTuple):
    """Plain numbers of a call."""

    activation: int
    recurrent_activation: int
    reverse: int
    zero_masked: int
    z_size: int  # elements of `z` for one thread's panel
    block_size: int  # elements of `z` for all panels of a block of steps
    members: int
    groups: int
    join: int


def _work_signature(t: Any) -> Any:
    return _i8(
        *(output(t, 3), output(t, 2), output(t, 2), output(t, 2), output(t, 2), output(t, 2)),
        *(output(t, 1), output(t, 1), output(_i8, 2), output(_i8, 1)),
        *(array(t, 3), array(_i8, 1), array(_i8, 2), array(t, 1)),
        types.UniTuple(_i8, len(Settings._fields)),
        *(output(_i8, 1), _i8, _i8),
    )


def compile_work(cell: Cell) -> CompiledKernel:
    """The kernel of a cell: one thread's part of a call."""
    advance = time_loop(cell)
    panel_vectors = cell.panel

    @compiled(_work_signature, f"{cell.name}{cell.rounds}")
    def work(
        out: Any,
        h_last: Any,
        c_last: Any,
        h_steps: Any,
        c_steps: Any,
        gates: Any,
        state: Any,
        z: Any,
        indices: Any,
        control: Any,
        x: Any,
        steps: Any,
        ranks: Any,
        packed: Any,
        settings: Any,
        board: Any,
        slot: int,
        member: int,
    ) -> int:
        """Groups of rows first, each alone; then, together, what is left."""
        if post(board, slot, control, settings[6], member):
            return int(withdraw(board, slot, member))
        arrive(control, member)
        rows, time, features = x.shape
        units = h_last.shape[1]
        state, z = state[aligned_start(state) :], z[aligned_start(z) :]
        vectors = -(-units // lanes_of(state))
        stride = vectors * lanes_of(state)
        plane = rows * stride
        activation, recurrent_activation = settings[0], settings[1]
        reverse, zero_masked = settings[2] != 0, settings[3] != 0
        z_size, block_size = settings[4], settings[5]
        members, groups, join = settings[6], settings[7], settings[8]
        batch = Batch(
            time,
            features,
            units,
            out.shape[1] > 0,
            c_last.shape[1] > 0,
            h_steps.shape[0] > 0,
            gates.shape[0] > 0,
            flat(out),
            flat(h_last),
            flat(c_last),
            flat(h_steps),
            flat(c_steps),
            flat(gates),
            flat(x),
            flat(steps),
            flat(ranks[0]),
            flat(ranks[1]),
            flat(ranks[2]),
            reverse,
            zero_masked,
        )
        net = Net(
            flat(packed),
            flat(state),
            flat(state[2 * plane :]),
            -(-vectors // panel_vectors),
            vectors,
            plane,
            activation,
            recurrent_activation,
            1 if gates.shape[0] > 0 else 0,
        )
        blocks = members * z_size
        own_block = z[blocks + member * block_size :]
        shared_block = z[blocks + members * block_size :]
        own = INDEX_ROWS * member
        scratch = Scratch(
            flat(z[member * z_size : blocks]),
            flat(indices[own]),
            flat(indices[own + 1]),
            flat(indices[own + 2]),
            flat(indices[own + 3]),
            flat(indices[own + 4]),
            flat(indices[own + 5]),
        )
        counters = flat(control)
        zero: Any = np.int64(0)  # of the other branch's type
        together = False
        while not together:
            group = atomic_add(counters, NEXT_GROUP, 1)
            together = group >= groups
            if together:
                wait_for_groups(counters, groups)
                group, groups = zero, zero + 1
                team = Team(counters, flat(shared_block), member, members)
                k, end = join, ranks[2, 0]
            else:
                team = Team(counters, flat(own_block), zero, zero + 1)
                k, end = zero, join
            taken = take_group(scratch, rows, group, groups, stride)
            advance(batch, net, scratch, team, taken, k, end)
            if not together:
                atomic_add(counters, GROUPS_DONE, 1)
        return int(withdraw(board, slot, member))

    return work


def run_layer(
    cell: Cell,
    work: CompiledKernel,
    out: Array,
    last: tuple[Array, Array],
    saved: tuple[Array, Array, Array],
    x: Array,
    plan: tuple[Ints, Ints, Ints],
    packed: Array,
    first: tuple[Array, Array],
    activations: tuple[str, str],
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """Run a cell over a batch.

    Args:
        cell: the cell.
        work: from `compile_work`, for this cell.
        out: (B, T or 0, H), to be written.
        last: h and c, (B, H) each, to be written; c is (B, 0) for a cell without one.
        saved: h_steps, c_steps, gates, to be written; without rows where not wanted.
        x: (B, T, F).
        plan: offsets, steps, order.
        packed: weights in the cell's layout.
        first: h and c before the first step, as `last`.
        activations: of the state and of the gates.
        reverse: walk from the last step to the first.
        zero_masked: whether masked steps give zeros.
        threads: at most so many.

    Raises:
        ValueError: the plan or the packed weights do not fit.
    """
    rows, time, features = x.shape
    (offsets, steps, _), units, dtype = plan, first[0].shape[1], x.dtype
    if len(packed) != packed_size(cell.layout, features, units, dtype):
        raise ValueError(
            f"packed must come from {cell.name}_pack for {features} features, {units} units"
        )
    if len(saved[2]) and not len(saved[0]):
        raise ValueError("gates are saved only where h_steps are: give h_steps a row a step")
    vectors, width = vectors_of(units, dtype), lanes(dtype)
    plane = rows * vectors * width
    more = spare(dtype)
    state = np.empty(3 * plane + more, dtype)
    ranks = np.empty((4, rows), np.int64)
    fault = _begin.for_dtype(dtype)(out, *last, ranks, state, *plan, *first, time)
    raise_fault(fault)
    if not (plane and offsets[rows]):
        return
    gates = cell.layout.recurrent
    shares = share(ranks[2], int(offsets[rows]), features, units, gates, dtype.itemsize, threads)
    members, panels = shares.members, panels_of(vectors, cell.panel)
    row = cell.tiles.row * width
    kept_rows = 2 * BLOCK_ROWS if cell.rounds == 1 else max(2 * BLOCK_ROWS, rows)
    z_size, block_size = rows * row, panels * kept_rows * row
    z = np.empty(members * z_size + (members + 1) * block_size + more, dtype)
    indices = np.empty((members * INDEX_ROWS, max(rows, 2 * BLOCK_ROWS)), np.int64)
    control = np.zeros(control_size(members), np.int64)
    codes = CODES[activations[0]], CODES[activations[1]]
    flags = int(reverse), int(zero_masked)
    kernel = work.for_dtype(dtype)
    # From here to the call nothing may fail: the slot would be lost.
    start = reserve(members, shares.patient)
    if start == ALONE:
        shares = alone(ranks[2])
    settings = Settings(*codes, *flags, z_size, block_size, *shares[:3])
    arguments = (
        *(out, *last, *saved, state, z, indices, control, x, steps, ranks, packed),
        tuple(settings),
    )
    run_shared(kernel, arguments, start, control)
