"""A plain loop over time, for cells that the kernels do not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .._typing import Array, Ints
from ..masks.mask import Mask

Step = Callable[[Array, list[Array], Ints], tuple[Array, Sequence[Array]]]
"""Takes inputs (n, ...) and states (n, ...) of some rows at one step, and the numbers of these
rows; returns their outputs (n, size) and states."""


def loop(
    step: Step,
    x: Array,
    mask: Mask | None,
    first: Sequence[Array],
    size: int,
    return_sequences: bool,
    go_backwards: bool,
    zero_output_for_mask: bool,
) -> tuple[Array, list[Array]]:
    """What `backends.recurrent.forward` does, step by step; x may have further axes."""
    batch, time = x.shape[:2]
    states = [state.copy() for state in first]
    dtype = first[0].dtype
    output = np.zeros((batch, size), dtype)
    outputs = np.empty((batch, time if return_sequences else 0, size), dtype)
    valid = np.ones((batch, time), np.bool_) if mask is None else mask.valid
    for position, t in enumerate(reversed(range(time)) if go_backwards else range(time)):
        rows = np.flatnonzero(valid[:, t])
        if len(rows):
            output[rows], after = step(x[rows, t], [state[rows] for state in states], rows)
            for state, new in zip(states, after, strict=True):
                state[rows] = new
        if zero_output_for_mask:
            output[~valid[:, t]] = 0
        if return_sequences:
            outputs[:, position] = output
    return (outputs if return_sequences else output), states
