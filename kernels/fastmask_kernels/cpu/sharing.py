"""How the work of a call is dealt to threads, decided from its sizes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIN_SHARED_WORK = 10_000_000  # floating-point operations; below, waking a helper costs more


class Shares(NamedTuple):
    """Who takes part, and in what."""

    members: int  # threads
    groups: int  # groups of rows, each walked by one thread
    join: int  # step from which on all threads share each step


def share(counts: NDArray[np.int64], steps: int, weights: int, panels: int, threads: int) -> Shares:
    """Decide how to share a call.

    Args:
        counts: valid steps of each row, longest first, at least one row.
        steps: their sum.
        weights: weights that a step multiplies with, of all gates.
        panels: panels that they are packed in.
        threads: upper bound on the threads.
    """
    import os

    longest = int(counts[0])
    if "FM_JOIN" in os.environ and threads > 1:
        j = int(os.environ["FM_JOIN"])
        g = int(os.environ.get("FM_GROUPS", "2"))
        rows = len(counts)
        if j == -1:
            j = longest
        elif j == -2:
            n = int(os.environ["FM_ROWS"])
            j = int(counts[n]) if n < rows else 0
        return Shares(threads, g, min(j, longest))
    operations = 2 * weights * steps
    if threads == 1 or operations < MIN_SHARED_WORK:
        return Shares(1, 1, longest)
    return Shares(threads, threads, longest)
