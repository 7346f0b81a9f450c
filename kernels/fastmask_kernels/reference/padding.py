"""Ragged values to padded rows and back, one row at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import checked

Ints = NDArray[np.int64]


@checked
def pad_rows(
    out: NDArray[Any],
    values: NDArray[Any],
    offsets: Ints,
    value: NDArray[Any],
    pre_pad: bool,
    pre_truncate: bool,
) -> None:
    """See `spec`."""
    time = out.shape[1]
    for b, row in enumerate(out):
        start, stop = offsets[b], offsets[b + 1]
        if not 0 <= start <= stop <= len(values):
            raise ValueError(
                f"offsets must ascend within 0, ..., {len(values)}, the length of values, "
                f"but row {b} goes from {start} to {stop}"
            )
        kept = values[start:stop]
        kept = kept[max(len(kept) - time, 0) :] if pre_truncate else kept[:time]
        row[:] = value[0]
        first = time - len(kept) if pre_pad else 0
        row[first : first + len(kept)] = kept


@checked
def unpad_rows(values: NDArray[Any], padded: NDArray[Any], steps: Ints) -> None:
    """See `spec`."""
    batch, time = padded.shape[:2]
    for i, step in enumerate(steps):
        if not 0 <= step < batch * time:
            raise ValueError(
                f"steps must be in [0, {batch * time}), the steps of padded, "
                f"but steps[{i}] is {step}"
            )
        values[i] = padded[step // time, step % time]
