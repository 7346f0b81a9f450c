"""What follows from the sums' gradients dZ without a loop over time, as products over all steps.

    dkernel = X^T dZ    drecurrent_kernel = H_before^T dZ    dbias = sum of dZ    dX = dZ W^T

with one row for each valid step. Columns of a sum that is called on a value have this value in
the place of H_before. Blocks of H columns stand in the order of z, but in weights in that of the
formula.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from ...bits import word_of
from ..blas import multiply, sum_columns
from ..gather import copy_rows
from ..jit import array, compiled, output
from ..simd import flat
from .activations import CODES
from .cell_gradients import activate_row
from .columns import Columns, blocks_of, write_blocks

Array = NDArray[np.floating]
Ints = NDArray[np.int64]

BLOCK_ROWS = 1024  # whose products with weights take little memory
COPIED_ROWS = 4096  # at least, of which a product with their gates' gradients is made at a time
COPIED_BYTES = 1 << 23  # and so much, where rows are short: what adding the products up costs


class Inputs(NamedTuple):
    """What the sums of the valid steps are computed from; rows of it are copied as needed."""

    x: Array  # (B, T, F)
    first: tuple[Array, ...]  # of each state, (B, H): before the first step of each row
    states: tuple[Array, ...]  # of each state, (P, H): after each valid step
    offsets: Ints  # (B + 1,)
    steps: Ints  # (P,), all of them positions of x
    reverse: bool  # whether rows are walked from their end

    def x_rows(self, block: slice) -> Array:
        """x at some of the valid steps, (rows, F): a view where every step is valid."""
        rows = self.x.reshape(self.x.shape[0] * self.x.shape[1], self.x.shape[2])
        if self.all_valid:
            return rows[block]
        steps = self.steps[block]
        out = np.empty((len(steps), self.x.shape[2]), self.x.dtype)
        copy_rows(out, rows, steps)
        return out

    @property
    def all_valid(self) -> bool:
        """Whether every step is valid."""
        return len(self.steps) == int(self.x.shape[0] * self.x.shape[1])

    def states_before(self, block: slice, state: int = 0) -> Array:
        """One of the states before some of the valid steps, (rows, H)."""
        begin, end, _ = block.indices(len(self.steps))
        first, states = self.first[state], self.states[state]
        before = np.empty((end - begin, states.shape[1]), states.dtype)
        word = word_of(before.dtype)
        row = int(np.searchsorted(self.offsets, begin, side="right")) - 1 if begin else 0
        _states_before.for_dtype(word)(
            *(before.view(word), first.view(word), states.view(word)),
            *(self.offsets, begin, row, bool(self.reverse)),
        )
        return before

    def kernel_gradient(self, out: Array, dz: Array) -> None:
        """Write x^T dz, summed over all valid steps."""
        most = max(len(dz), 1) if self.all_valid else _most_copied(self.x.shape[2], dz)
        _sum_of_products(out, self.x_rows, dz, most)

    def recurrent_gradient(self, out: Array, dz: Array) -> None:
        """Write h_before^T dz, summed over all valid steps."""
        _sum_of_products(out, self.states_before, dz, _most_copied(self.first[0].shape[1], dz))


@compiled(
    lambda u: types.void(
        *(output(u, 2), array(u, 2), array(u, 2), array(types.int64, 1)),
        *(types.int64, types.int64, types.boolean),
    )
)
def _states_before(
    before: Any, first: Any, states: Any, offsets: Any, begin: int, row: int, reverse: bool
) -> None:
    # `row` is the one that has step `begin`, or one before it.
    back = -1 if reverse else 1
    for i in range(before.shape[0]):
        step = begin + i
        while step >= offsets[row + 1]:
            row += 1
        edge = offsets[row + 1] - 1 if reverse else offsets[row]
        for unit in range(before.shape[1]):
            if step == edge:
                before[i, unit] = first[row, unit]
            else:
                before[i, unit] = states[step - back, unit]


def _most_copied(width: int, dz: Array) -> int:
    return max(COPIED_ROWS, COPIED_BYTES // (max(width, 1) * dz.itemsize))


def _sum_of_products(out: Array, rows_of: Callable[[slice], Array], dz: Array, most: int) -> None:
    """out = rows^T dz, of so many rows at a time."""
    first, *others = row_blocks(len(dz), most) or [slice(0, 0)]
    multiply(rows_of(first).T, dz[first], out)
    for block in others:
        out += multiply(rows_of(block).T, dz[block])


def row_blocks(rows: int, most: int = BLOCK_ROWS) -> list[slice]:
    """The rows of a matrix in blocks of so many."""
    return [slice(start, min(start + most, rows)) for start in range(0, rows, most)]


def weight_gradients(call: Any, columns: Columns, inputs: Inputs, gates: Array) -> None:
    """Write the gradients of x, of the weights and of the vectors.

    Args:
        call: the arguments of a backward kernel.
        columns: those of the cell.
        inputs: what the sums are functions of.
        gates: (P, width H), with gradients.
    """
    units = inputs.first[0].shape[1]

    def dz(begin: int, count: int = 1) -> Array:
        return gates[:, begin * units : (begin + count) * units]

    of_inputs = dz(0, len(columns.inputs.numbers))
    at_once = dz(columns.first, len(columns.at_once.numbers))
    for weights, blocks, gradient, of in (
        (call.dkernel, columns.inputs, inputs.kernel_gradient, of_inputs),
        (call.drecurrent_kernel, columns.at_once, inputs.recurrent_gradient, at_once),
    ):
        write_blocks(weights, blocks, units, partial(gradient, dz=of))
    for block, column, operand in columns.called:
        multiply(dz(operand).T, dz(block), blocks_of(call.drecurrent_kernel, column, units))
    sums = sum_columns(gates)
    call.dbias[:] = blocks_of(sums, columns.sums, units)
    for n, name in enumerate(columns.cell.vectors, columns.vectors):
        getattr(call, f"d{name}")[:] = sums[n * units : (n + 1) * units]
    kernel = blocks_of(call.kernel, columns.inputs, units)
    input_gradient(call.dx, of_inputs, kernel, inputs.steps)


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
