"""Rows of a table by number: the embedding look-up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import checked


@checked
def gather_rows(out: NDArray[Any], table: NDArray[Any], ids: NDArray[np.int64]) -> None:
    """See `spec`."""
    for i, row in enumerate(ids):
        if not 0 <= row < len(table):
            raise ValueError(
                f"ids must be in [0, {len(table)}), the rows of table, but ids[{i}] is {row}"
            )
        out[i] = table[row]
