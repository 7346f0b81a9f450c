"""What all recurrent layers share between their arguments and their kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._dispatch import kernels, real_array
from ._mask import Mask, Plan, plan_for
from ._threads import get_num_threads
from ._typing import Array

ACTIVATIONS = ("linear", "relu", "sigmoid", "hard_sigmoid", "tanh")
"""The activations that the kernels know."""

_SAVED = {"lstm": (1, 1, 4), "gru": (1, 4), "rnn": (1,)}
"""The widths, in units, of what the kernels of a cell can save for the backward pass."""


def pack(cell: str, kernel: Array, recurrent_kernel: Array, bias: Array) -> Array:
    """The weights in the layout that the kernels of `cell` read."""
    column = kernels()
    size = getattr(column, f"{cell}_packed_size")(
        kernel.shape[0], recurrent_kernel.shape[0], kernel.dtype
    )
    packed: Array = column.aligned_empty(size, kernel.dtype)
    getattr(column, f"{cell}_pack")(packed, kernel, recurrent_kernel, bias)
    return packed


def forward(
    cell: str,
    x: Array,
    mask: Mask | None,
    packed: Array,
    first: Sequence[Array],
    settings: tuple[Any, ...],
    return_sequences: bool,
    go_backwards: bool,
    zero_output_for_mask: bool,
) -> tuple[Array, tuple[Array, ...]]:
    """Run the kernel of `cell` over the valid steps of x.

    Args:
        cell: "lstm", "gru" or "rnn".
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
    batch, time, _ = x.shape
    units = first[0].shape[1]
    plan = plan_for(mask, batch, time)
    outputs = np.empty((batch, time if return_sequences else 0, units), x.dtype)
    last = tuple([np.empty_like(state) for state in first])
    saved = [np.empty((0, width * units), x.dtype) for width in _SAVED[cell]]
    # Unchecked: these arrays were made, or checked, on the way here.
    getattr(kernels(), f"{cell}_fwd").unchecked(
        outputs,
        *last,
        *saved,
        x,
        *plan,
        packed,
        *first,
        *settings,
        go_backwards,
        zero_output_for_mask,
        get_num_threads(),
    )
    if return_sequences:
        return outputs, last
    output = last[0].copy()
    if zero_output_for_mask and mask is not None and time:
        output[~mask.valid[:, 0 if go_backwards else -1]] = 0
    elif _has_empty_row(plan):
        output[np.diff(plan.offsets) == 0] = 0
    return output, last


def _has_empty_row(plan: Plan) -> bool:
    offsets, _, order = plan
    if not len(order):
        return False
    shortest = order[-1]
    return bool(offsets[shortest] == offsets[shortest + 1])


def initial_states(
    given: Any, count: int, batch: int, units: int, dtype: np.dtype[Any]
) -> list[Array]:
    """`initial_state` as a list of `count` arrays (B, H); zeros where it is None.

    Raises:
        TypeError: it is not a list of arrays of real numbers.
        ValueError: it has another number of arrays, or one of another shape.
    """
    if given is None:
        return [np.zeros((batch, units), dtype) for _ in range(count)]
    if isinstance(given, np.ndarray) and count == 1 and given.ndim == 2:
        given = [given]
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"initial_state must be a list of arrays, not {type(given).__name__}")
    if len(given) != count:
        raise ValueError(f"initial_state must have {count} arrays, not {len(given)}")
    states = [real_array(s, f"initial_state[{i}]", dtype) for i, s in enumerate(given)]
    for i, state in enumerate(states):
        if state.shape != (batch, units):
            raise ValueError(
                f"initial_state[{i}] must have shape (batch, units) = ({batch}, {units}), "
                f"not {state.shape}"
            )
    return states
