"""What a recurrent layer returns at the steps of a ragged batch that are not valid."""

from __future__ import annotations

import numpy as np

from .._typing import Array
from ..backends.rows import Rows


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
        zero_masked: whether zeros stand in holes, or the output before them.

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
