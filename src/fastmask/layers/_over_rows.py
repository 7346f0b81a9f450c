"""Recurrent layers on ragged batches: over the rows in place, without padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array, ArrayLike, Shape
from ..backends.rows import Rows
from ..masks.mask import Mask
from ..masks.ragged import Ragged
from ._cell_protocol import as_list
from ._layer import is_training
from ._states import KeepsStates
from ._types import States


class OverRows(KeepsStates):
    """Base of `RNN`: what it does with a `Ragged`."""

    return_sequences: bool
    return_state: bool
    go_backwards: bool
    zero_output_for_mask: bool

    def _ragged_way(self, ndim: int) -> str:  # noqa: ARG002 - the signature of `Layer`
        if not self._in_kernels():
            return "padded"
        drops = is_training() and any(
            cell.dropout or cell.recurrent_dropout for cell in self._cells
        )
        return "padded" if drops else "own"

    def _in_kernels(self) -> bool:
        return all(cell._known for cell in self._cells)

    def _call_ragged(self, inputs: Ragged, initial_state: States | None = None) -> Any:
        """Run over the steps of each row; see `_ragged`."""
        output, *states = as_list(self._over_rows(inputs, initial_state))
        if self.return_sequences:
            rows = inputs._rows
            if self.go_backwards and rows.valid is not None:
                rows = rows.with_valid(rows.valid[rows.turned])
            output = Ragged._of(output, rows)
        return (output, *states) if self.return_state else output

    def _over_rows(self, inputs: Ragged, initial_state: States | None) -> Any:
        """Like `call`; with `return_sequences` the outputs of all rows are one array, (P, H)."""
        self._check_axes(inputs.shape, self.name)
        rows = inputs._rows
        of_valid = rows.of_valid
        x = self._checked(self._cast(inputs._values[np.newaxis]))
        if rows.valid is not None:
            x = x[:, rows.valid]
        result = self._over(x, of_valid, len(rows), initial_state, is_training())
        output, *states = as_list(result)
        if self.return_sequences:
            output = output[0]
        if rows.valid is not None:
            options = self.return_sequences, self.go_backwards, self.zero_output_for_mask
            output = with_holes(output, rows, *options)
        return (output, *states)

    def _over(
        self,
        x: Array,
        steps: Mask | Rows | None,
        batch: int,
        initial_state: States | None,
        training: bool,
    ) -> Any:
        """Run over the valid steps of x, (B, T, ...); or over the rows of (1, P, ...)."""
        raise NotImplementedError

    def _checked(self, inputs: ArrayLike) -> Array:
        raise NotImplementedError

    def _check_axes(self, shape: Shape, name: str) -> None:
        raise NotImplementedError


def with_holes(
    output: Array, rows: Rows, return_sequences: bool, go_backwards: bool, zero_masked: bool
) -> Array:
    """The output of a layer, as a mask with these holes would have it.

    Args:
        output: that of the valid steps, (N, H), in the order in which they were computed; or
            the last one of each row, (B, H).
        rows: the rows with their holes.
        return_sequences: which of the two it is.
        go_backwards: whether rows were walked from their ends.
        zero_masked: whether holes get zeros instead of the output before them.

    Returns:
        (P, H), or (B, H).
    """
    assert rows.valid is not None
    if not return_sequences:
        if zero_masked:
            filled = np.flatnonzero(rows.lengths)
            last = rows.offsets[filled] if go_backwards else rows.offsets[filled + 1] - 1
            output[filled[~rows.valid[last]]] = 0
        return output
    valid = rows.valid[rows.turned] if go_backwards else rows.valid
    before = np.cumsum(valid) - 1  # number of the last valid step so far
    first = np.repeat(rows.of_valid.offsets[:-1], rows.lengths)
    known = valid if zero_masked else before >= first
    whole = np.zeros((rows.count, output.shape[1]), output.dtype)
    whole[known] = output[before[known]]
    return whole
