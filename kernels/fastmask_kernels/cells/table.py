"""What a backend makes of a cell: the functions that `spec.cell_kernels` lists.

Every backend has `kernels_of(cell)`, which returns `CellKernels` and caches them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..checks import TableFunction


class CellKernels(NamedTuple):
    """The kernels of a cell on one backend.

    Attributes:
        packed_size: the length of `packed`, from features, units and dtype.
        pack: puts weights in the order in which `fwd` and `step` read them.
        fwd: runs the cell over the valid steps of a batch.
        bwd: gives the gradients of `fwd`.
        step: advances one time step, in place.
    """

    packed_size: Callable[[int, int, np.dtype[Any]], int]
    pack: TableFunction
    fwd: TableFunction
    bwd: TableFunction
    step: TableFunction
