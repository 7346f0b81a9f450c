"""Recurrent layers on any backend, from arrays to kernels.

Only this module knows the order of the kernels' arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from .._typing import Array, Bools
from .base import ArrayBackend, Backend, PlannedMask, VersionedWeights
from .cell import Cell
from .dispatch import all_on_host, backend_for, is_array, real_array
from .host import HOST
from .plan import Plan
from .rows import Rows

K = TypeVar("K")
Settings = tuple[str | bool, ...]
"""The activations, and after them the flags that a cell has."""

ALL_ROWS: Bools = np.empty(0, np.bool_)
"""Stands for an array of events in which every row has one."""


def pack(
    backend: Backend[K],
    cell: Cell,
    weights: Sequence[Any],
    settings: Settings,
    beside: K | None = None,
) -> K:
    """Pack weights into the layout that the kernels of `cell` read.

    Args:
        backend: the backend of the arrays.
        cell: the cell.
        weights: as kernels see them: kernel (F, gates * H), recurrent kernel (H, gates * H), bias
            (gates * H,), or (2, gates * H) for a cell with two, or None for zeros; for a GRU
            without `reset_after` it is one row, for the input. Other weights of the cell follow.
        settings: those of `forward`.
        beside: the inputs, if the packed weights are to be kept. They are then put into memory of
            fastmask's own, ready for any stream.
    """
    kernel, recurrent_kernel, *others = with_full_bias(backend, cell, weights)
    packed = backend.packed_room(cell, kernel, recurrent_kernel, beside is not None)
    flags = settings[len(settings) - cell.flags :]
    backend.call(cell.pack, [packed], (kernel, recurrent_kernel, *others, *flags), beside)
    return packed


def packed_weights(
    backend: ArrayBackend[Any],
    cell: Cell,
    weights: VersionedWeights,
    values: Callable[[], Sequence[Array | None]],
    settings: Settings,
    x: Array,
) -> Any:
    """Pack the weights of a layer for the kernels of x, and keep the result.

    Args:
        backend: the backend of the inputs.
        cell: the cell.
        weights: the layer's weights; `made` keeps the result, by cell and `packing(x)`, until they
            change.
        values: returns kernel, recurrent kernel, bias or None, and other weights of the cell.
        settings: those of `forward`.
        x: the inputs.
    """
    made, key = (
        weights.made,
        (cell, backend.packing(x)),
    )  # before the values are read: see `Weights`
    (like,) = backend.views(x)
    sent = backend.kept_weights(like, with_full_bias(HOST, cell, values()))
    packed = pack(backend, cell, sent, settings, like)
    backend.finish(like)
    made[key] = packed
    return packed


def with_full_bias(backend: Backend[K], cell: Cell, weights: Sequence[Any]) -> Sequence[Any]:
    """The weights with the whole bias that the kernels add; zeros stand for a missing one."""
    kernel, recurrent_kernel, bias, *others = weights
    columns = cell.gates * recurrent_kernel.shape[0]
    shape = (columns,) if cell.bias_rows == 1 else (cell.bias_rows, columns)
    if bias is not None and bias.shape == shape:
        return weights
    return kernel, recurrent_kernel, backend.full_bias(bias, shape, kernel), *others


def run_forward(
    backend: Backend[K],
    cell: Cell,
    outputs: Sequence[K],
    x: K,
    plan: Plan,
    packed: K,
    first: Sequence[K],
    settings: Settings,
    go_backwards: bool,
    zero_masked: bool,
) -> None:
    """Run the forward kernel; `outputs` are the output, the last states, and what is saved."""
    inputs = x, *plan, packed, *first, *settings, go_backwards, zero_masked
    backend.run(cell.fwd, outputs, inputs)


def run_backward(
    backend: Backend[K],
    cell: Cell,
    outputs: Sequence[K],
    dout: K,
    dlast: Sequence[K],
    x: K,
    plan: Plan,
    weights: Sequence[K],
    first: Sequence[K],
    saved_states: Sequence[K],
    gates_saved: bool,
    settings: Settings,
    go_backwards: bool,
    zero_masked: bool,
) -> None:
    """Run the backward kernel; `outputs` are the gradients of x, weights and states, and gates."""
    at = len(settings) - cell.flags
    told = [gates_saved] if cell.keeps_gates else []
    backend.run(
        cell.bwd,
        outputs,
        (
            *(dout, *dlast, x, *plan, *weights, *first, *saved_states),
            *(*settings[:at], *told, *settings[at:], go_backwards, zero_masked),
        ),
    )


def forward(
    backend: ArrayBackend[Any],
    cell: Cell,
    x: Array,
    mask: PlannedMask | Rows | None,
    packed: Any,
    first: Sequence[Array],
    settings: Settings,
    return_sequences: bool,
    go_backwards: bool,
    zero_output_for_mask: bool,
) -> tuple[Array, list[Array]]:
    """Run a layer over the valid steps of x.

    Args:
        backend: the backend of the inputs.
        cell: the cell.
        x: (B, T, F), in the form that kernels take; or (1, P, F) of a ragged batch.
        mask: (B, T), or None if all steps are valid; or the rows of a ragged batch.
        packed: see `pack`.
        first: the initial states, (B, H) each, in the form that kernels take.
        settings: the kernel's arguments between the states and the options.
        return_sequences: whether the outputs of all steps are wanted instead of the last one.
        go_backwards: walk from the last step to the first, and write in that order.
        zero_output_for_mask: whether masked steps give zeros instead of the previous output.

    Returns:
        The output, (B, T, H) or (B, H), or (1, P, H), and the last states, (B, H) each.
    """
    if isinstance(mask, Rows):
        return _forward_ragged(
            cell, x, mask, packed, first, settings, return_sequences, go_backwards
        )
    if not backend.sees_arrays:
        x, *first = backend.views(x, *first)
    batch, time, _ = x.shape
    units = first[0].shape[1]
    plan = backend.plan(mask, batch, time, x)
    shape = batch, time if return_sequences else 0, units
    (out, last, saved), zero = backend.outputs(cell, x, shape), zero_output_for_mask
    run_forward(
        backend, cell, (out, *last, *saved), x, plan, packed, first, settings, go_backwards, zero
    )
    if not return_sequences:
        step = (0 if go_backwards else -1) if zero and time else None
        out = backend.last_output(last[0], mask, plan, step)
    if not backend.sees_arrays:
        out, *last = backend.own(out, *last)
    return out, last


def _forward_ragged(
    cell: Cell,
    x: Array,
    rows: Rows,
    packed: Any,
    first: Sequence[Array],
    settings: Settings,
    return_sequences: bool,
    go_backwards: bool,
) -> tuple[Array, list[Array]]:
    """See `forward`, for rows whose steps are all valid, on the host."""
    batch, units = first[0].shape
    plan, steps = rows.plan, rows.count if return_sequences else 0
    _, last, saved = HOST.outputs(cell, x, (batch, 0, units))
    out = np.empty((1, steps, units), x.dtype)
    run_forward(
        HOST, cell, (out, *last, *saved), x, plan, packed, first, settings, go_backwards, False
    )
    return out if return_sequences else HOST.last_output(last[0], None, plan, None), last


def step(
    cell: Cell,
    x: Array,
    events: Bools,
    packed: Array,
    states: Sequence[Array],
    settings: Settings,
) -> None:
    """Advance the rows that have an event by one step, without allocating memory.

    Args:
        cell: the cell.
        x: (B, F), a NumPy array as kernels take it, not in the memory of the states.
        events: (B,), or `ALL_ROWS`.
        packed: see `pack`.
        states: (B, H) each, as kernels take them; changed in place.
        settings: see `forward`.
    """
    HOST.run(cell.step, states, (x, events, packed, *settings))


def stepped(
    backend: ArrayBackend[Any],
    cell: Cell,
    x: Array,
    packed: Any,
    states: Sequence[Array],
    settings: Settings,
) -> list[Array]:
    """The states after one step of all rows, as new arrays."""
    if not backend.steps_in_place:
        now = backend.part(backend.views(x)[0], (x.shape[0], 1, x.shape[1]))
        return forward(backend, cell, now, None, packed, states, settings, True, False, False)[1]
    after = [state.copy() for state in states]
    step(cell, x, ALL_ROWS, packed, after, settings)
    return after


def initial_states(
    given: Any,
    sizes: Sequence[int],
    batch: int,
    dtype: np.dtype[Any],
    name: str = "initial_state",
    start: int = 0,
) -> list[Array]:
    """`given`, called `name` in messages, as a list of arrays (B, size); zeros where it is None.

    Messages count the arrays from `start`.

    Raises:
        TypeError: it is not a list of arrays of real numbers.
        ValueError: it has another number of arrays, or one of another shape.
    """
    if given is None:  # on the host; `placed` puts them where the inputs are
        return [np.zeros((batch, size), dtype) for size in sizes]
    if len(sizes) == 1 and is_array(given) and given.ndim == 2:
        given = [given]
    if not isinstance(given, (list, tuple)):
        raise TypeError(
            f"{name} must be a list of {len(sizes)} arrays (batch, units), "
            f"not {type(given).__name__}"
        )
    if len(given) != len(sizes):
        raise ValueError(f"{name} must have {len(sizes)} arrays, not {len(given)}")
    states = [real_array(s, f"{name}[{i}]", dtype) for i, s in enumerate(given, start)]
    for i, (state, size) in enumerate(zip(states, sizes, strict=True), start):
        if state.shape != (batch, size):
            raise ValueError(
                f"{name}[{i}] must have shape (batch, units) = ({batch}, {size}), not {state.shape}"
            )
    return states


def placed(
    states: list[Array], given: bool, beside: dict[str, Array], name: str = "initial_state"
) -> list[Array]:
    """Initial states, called `name` in messages, on the GPU if the arrays of a call are there.

    Args:
        states: from `initial_states`.
        given: whether they are the caller's; others follow the arrays.
        beside: the arrays, as `real_array` returns them, by name.
        name: what messages call the states.

    Raises:
        TypeError: some arrays are on a GPU, others on the host.
        ValueError: arrays are on different devices.
    """
    if given:
        beside = {**beside, **{f"{name}[{i}]": state for i, state in enumerate(states)}}
    if all_on_host(beside.values()):
        return states
    backend = backend_for(list(beside.values()))
    backend.check_places(list(beside.items()))
    if given:
        return states
    shapes = [state.shape for state in states]
    return backend.zeros(shapes, states[0].dtype, next(iter(beside.values())))
