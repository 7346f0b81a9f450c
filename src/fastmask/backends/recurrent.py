"""What all recurrent layers share between their arguments and their kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from .._checks import closest, listed
from .._typing import Array, Bools
from ..activations import is_name, name_of, of_size
from ..masks.mask import Mask, plan_for
from ..masks.plan import Plan
from .cuda import on_gpu
from .dispatch import kernels, real_array
from .threads import get_num_threads

ACTIVATIONS = ("linear", "relu", "sigmoid", "hard_sigmoid", "tanh")
"""The activations that the kernels know."""


def kernel_activation(identifier: Any, name: str) -> str:
    """The name of an activation that the kernels know; `name` is the argument's, for messages.

    Raises:
        ValueError: they do not know it.
        TypeError: it is neither a name nor a function.
    """
    if type(identifier) is str and identifier in ACTIVATIONS:
        return identifier
    expected = f"{name} must be one of {listed(ACTIVATIONS)}"
    if not (isinstance(identifier, str) or callable(identifier) or identifier is None):
        raise TypeError(f"{expected}, not {identifier!r}{of_size(identifier, name)}")
    known = identifier if isinstance(identifier, str) else name_of(identifier, name)
    if isinstance(known, str) and known in ACTIVATIONS:
        return known
    own = getattr(identifier, "__name__", None)
    if own in ACTIVATIONS:
        hint = f": give its name, {own!r}"
    elif isinstance(known, str) and not is_name(known):
        hint = closest(known, ACTIVATIONS)
    else:
        hint = "; a cell of your own in fastmask.layers.RNN(cell) may use any function"
    raise ValueError(f"{expected}, not {identifier!r}{hint}")


ALL_ROWS: Bools = np.empty(0, np.bool_)
"""Instead of flags that say of each row whether it has an event."""


@dataclass(frozen=True, eq=False)
class Cell:
    """What tells the kernels of one cell from those of another."""

    prefix: str  # of the kernels' names
    gates: int  # blocks of H columns in the weights
    states: int
    saved: tuple[int, ...]  # widths, in H, of what the forward kernel saves for training


LSTM = Cell("lstm", gates=4, states=2, saved=(1, 1, 4))
GRU = Cell("gru", gates=3, states=1, saved=(1, 4))
SIMPLE_RNN = Cell("rnn", gates=1, states=1, saved=(1,))


def pack(
    cell: Cell,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None,
    settings: tuple[Any, ...],
) -> Array:
    """The weights in the layout that the kernels of `cell` read.

    `settings` are those of `forward`; the bias is None for zeros, and for a GRU without
    `reset_after` has one row, that of the input.
    """
    if type(kernel) is not np.ndarray:
        packed: Array = _on_gpu().pack(cell, kernel, recurrent_kernel, bias, settings)
        return packed
    column = kernels()
    columns, dtype = kernel.shape[1], kernel.dtype
    flags: tuple[Any, ...] = ()
    if cell is GRU:
        flags = settings[-1:]
        both = np.zeros((2, columns), dtype)
        if bias is not None:
            rows = np.atleast_2d(bias)
            both[: len(rows)] = rows
        bias = both
    elif bias is None:
        bias = np.zeros(columns, dtype)
    size = getattr(column, f"{cell.prefix}_packed_size")(len(kernel), len(recurrent_kernel), dtype)
    packed = column.aligned_empty(size, dtype)
    write = getattr(column, f"{cell.prefix}_pack").unchecked  # as all was made or checked before
    write(packed, kernel, recurrent_kernel, bias, *flags)
    return packed


def forward(
    cell: Cell,
    x: Array,
    mask: Mask | None,
    packed: Array,
    first: Sequence[Array],
    settings: tuple[Any, ...],
    return_sequences: bool,
    go_backwards: bool,
    zero_output_for_mask: bool,
) -> tuple[Array, list[Array]]:
    """Run the kernel of `cell` over the valid steps of x.

    Args:
        cell: which one.
        x: (B, T, F), in the form that kernels take.
        mask: (B, T), or None where all steps are valid.
        packed: see `pack`.
        first: the initial states, (B, H) each, in the form that kernels take.
        settings: what the kernel takes between the states and the options.
        return_sequences: whether outputs of all steps are wanted, or the last one.
        go_backwards: walk from the last step to the first, and write in that order.
        zero_output_for_mask: whether masked steps give zeros, or the previous output.

    Returns:
        The output, (B, T, H) or (B, H), and the last states, (B, H) each.
    """
    if type(x) is not np.ndarray:
        options = return_sequences, go_backwards, zero_output_for_mask
        found: tuple[Array, list[Array]] = _on_gpu().forward(
            cell, x, mask, packed, first, settings, *options
        )
        return found
    batch, time, _ = x.shape
    plan = plan_for(mask, batch, time)
    outputs = np.empty((batch, time if return_sequences else 0, first[0].shape[1]), x.dtype)
    last = _run(cell, outputs, x, plan, packed, first, settings, go_backwards, zero_output_for_mask)
    if return_sequences:
        return outputs, last
    output = last[0].copy()
    if zero_output_for_mask and mask is not None and time:
        output[~mask.valid[:, 0 if go_backwards else -1]] = 0
    elif _has_empty_row(plan):
        output[plan.offsets[1:] == plan.offsets[:-1]] = 0
    return output, last


def step(
    cell: Cell,
    x: Array,
    events: Bools,
    packed: Array,
    states: Sequence[Array],
    settings: tuple[Any, ...],
) -> None:
    """Go one step further in the rows that have an event; nothing is allocated for them.

    Args:
        cell: which one.
        x: (B, F), in the form that kernels take, of other memory than the states.
        events: (B,), or `ALL_ROWS`.
        packed: see `pack`.
        states: (B, H) each, in the form that kernels take, to be changed in place.
        settings: see `forward`.
    """
    # Unchecked: these arrays were made, or checked, on the way here.
    getattr(kernels(), f"{cell.prefix}_step").unchecked(
        *states, x, events, packed, *settings, get_num_threads()
    )


def stepped(
    cell: Cell, x: Array, packed: Array, states: Sequence[Array], settings: tuple[Any, ...]
) -> list[Array]:
    """As many new arrays as there are states, which is what `step` makes of them all."""
    if type(x) is not np.ndarray:
        after: list[Array] = _on_gpu().step(cell, x, packed, states, settings)
        return after
    after = [state.copy() for state in states]
    step(cell, x, ALL_ROWS, packed, after, settings)
    return after


def _run(
    cell: Cell,
    outputs: Array,
    x: Array,
    plan: Plan,
    packed: Array,
    first: Sequence[Array],
    settings: tuple[Any, ...],
    go_backwards: bool,
    zero_masked: bool,
) -> list[Array]:
    """Call the kernel, which writes `outputs`; the last states."""
    last = [np.empty(state.shape, state.dtype) for state in first]
    # Unchecked: these arrays were made, or checked, on the way here.
    _kernel(kernels(), cell).unchecked(
        outputs,
        *last,
        *_nothing_saved(cell, outputs.shape[2], x.dtype),
        x,
        *plan,
        packed,
        *first,
        *settings,
        go_backwards,
        zero_masked,
        get_num_threads(),
    )
    return last


@lru_cache(maxsize=16)
def _kernel(column: Any, cell: Cell) -> Any:
    return getattr(column, f"{cell.prefix}_fwd")


@lru_cache(maxsize=64)
def _nothing_saved(cell: Cell, units: int, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    return tuple([np.empty((0, width * units), dtype) for width in cell.saved])


def _on_gpu() -> Any:
    return import_module("fastmask.backends.cuda.recurrent")  # which imports the masks of GPUs


def _has_empty_row(plan: Plan) -> bool:
    offsets, _, order = plan
    if not len(order):
        return False
    shortest = order[-1]
    return bool(offsets[shortest] == offsets[shortest + 1])


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
    if len(sizes) == 1 and (isinstance(given, np.ndarray) or on_gpu(given)) and given.ndim == 2:
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
    if all(type(array) is np.ndarray for array in beside.values()):
        return states
    on_gpu: list[Array] = _on_gpu().placed(states, given, beside)
    return on_gpu
