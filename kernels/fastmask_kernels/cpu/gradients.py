"""What follows from the gates' gradients dZ without a loop over time, as products over all steps.

    dkernel = X^T dZ    drecurrent_kernel = H_before^T dZ    dbias = sum of dZ    dX = dZ W^T

with one row for each valid step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from .._bits import word_of
from ._compile import array, compiled, output
from .activations import CODES
from .blas import multiply
from .cell_gradients import activate_row
from .gather import copy_rows
from .simd import flat

Array = NDArray[np.floating]
Ints = NDArray[np.int64]

BLOCK_ROWS = 1024


def valid_rows(x: Array, steps: Ints) -> Array:
    """x at the valid steps, (P, F): a view where every step is valid.

    Args:
        x: (B, T, F).
        steps: (P,), all of them positions of x.
    """
    rows = x.reshape(x.shape[0] * x.shape[1], x.shape[2])
    if len(steps) == len(rows):
        return rows
    out = np.empty((len(steps), x.shape[2]), x.dtype)
    copy_rows(out, rows, steps)
    return out


def states_before(first: Array, states: Array, offsets: Ints, reverse: bool) -> Array:
    """The state before each valid step, (P, H).

    Args:
        first: (B, H), before the first step of each row.
        states: (P, H), after each valid step.
        offsets: (B + 1,).
        reverse: whether rows are walked from their end.
    """
    before = np.empty((int(offsets[-1]), states.shape[1]), states.dtype)
    word = word_of(before.dtype)
    _states_before.for_dtype(word)(
        before.view(word), first.view(word), states.view(word), offsets, bool(reverse)
    )
    return before


@compiled(
    lambda u: types.void(
        output(u, 2), array(u, 2), array(u, 2), array(types.int64, 1), types.boolean
    )
)
def _states_before(before: Any, first: Any, states: Any, offsets: Any, reverse: bool) -> None:
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        edge = stop - 1 if reverse else start
        back = -1 if reverse else 1
        for step in range(start, stop):
            for unit in range(before.shape[1]):
                if step == edge:
                    before[step, unit] = first[row, unit]
                else:
                    before[step, unit] = states[step - back, unit]


def row_blocks(rows: int) -> list[slice]:
    """The rows of a matrix in blocks whose products with others take little memory."""
    return [slice(start, start + BLOCK_ROWS) for start in range(0, rows, BLOCK_ROWS)]


def input_gradient(dx: Array, dz: Array, kernel: Array, steps: Ints) -> None:
    """Write dx: dz @ kernel^T at the valid steps, 0 at the others.

    Args:
        dx: (B, T, F), or with no time steps where it is not wanted.
        dz: (P, columns of the kernel).
        kernel: (F, columns).
        steps: (P,).
    """
    rows = dx.reshape(dx.shape[0] * dx.shape[1], dx.shape[2])
    if len(rows) == 0:
        return
    if len(steps) == len(rows):
        multiply(dz, kernel.T, rows)
        return
    words = rows.view(word_of(rows.dtype))
    place = _place_rows.for_dtype(words.dtype)
    end = 0
    for block in row_blocks(len(steps)):
        found = multiply(dz[block], kernel.T)
        end = place(words, found.view(words.dtype), steps[block], end)
    rows[end:] = 0


@compiled(lambda u: types.int64(output(u, 2), array(u, 2), array(types.int64, 1), types.int64))
def _place_rows(out: Any, rows: Any, steps: Any, end: int) -> int:
    """Write rows to where the steps are in `out`, and zeros before them from `end` on.

    Returns where they end.
    """
    for i in range(len(steps)):
        for gap in range(end, steps[i]):
            for f in range(out.shape[1]):
                out[gap, f] = 0
        end = steps[i] + 1
        for f in range(out.shape[1]):
            out[steps[i], f] = rows[i, f]
    return end


def activate(values: Array, begin: int, end: int, activation: str) -> None:
    """Apply an activation to the columns from `begin` to `end` of a matrix, in place."""
    _activate.for_dtype(values.dtype)(values, begin, end, CODES[activation])


@compiled(lambda t: types.void(output(t, 2), types.int64, types.int64, types.int64))
def _activate(values: Any, begin: int, end: int, activation: int) -> None:
    view = flat(values)
    for row in range(values.shape[0]):
        activate_row(view, row * values.shape[1] + begin, end - begin, activation)
