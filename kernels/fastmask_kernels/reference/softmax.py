"""Softmax over the steps that exist."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..checks import checked

Array = NDArray[np.floating]


@checked
def masked_softmax(out: Array, x: Array, valid: NDArray[np.bool_]) -> None:
    """See `spec`."""
    for b, row in enumerate(valid):
        out[b] = 0
        if row.any():
            steps = x[b, row]
            powers = np.exp(steps - steps.max(axis=0))
            out[b, row] = powers / powers.sum(axis=0)
