"""The generated lines of a time loop, to read."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ...cells import Cell, lstm, require_cell
from ..ops import in_turn
from .columns import require_kernels, rounds
from .forward_cells import Cells, Saves
from .kernels import kind_of
from .loop_products import products_of
from .resident import tile

_LANES, _UNITS = 4, 64  # of a forward loop, see `resident`; of a layer that fits one block


def forward_round(cell: Cell = lstm) -> str:
    """What a thread of a block computes at a step besides the product, if everything is saved.

    A cell with a second product has a second function, for what follows it. `t` is what the thread
    has, see `loop_groups.Thread`, `c` are the arrays, see `forward_cells.Call`, and `k` is the
    number of the step.

    Args:
        cell: a cell that has CUDA kernels.

    Raises:
        TypeError: it is no cell, but what a cell made for a layer, or a name.
        ValueError: it has none.
    """
    require_cell(cell)
    require_kernels(cell, False)
    real, products = np.dtype("f4"), rounds(cell)
    tiles = tuple(tile(len(names), _LANES, _UNITS, _UNITS) for names in products)
    saves = Saves(h=True, states=True, gates=True, separate=True)
    cells = Cells(kind_of(cell), real.type, products_of(tiles, real), saves, 0)
    return "\n".join(_source(cells.round(p, in_turn([]))) for p in range(len(products)))


def _source(function: Any) -> str:
    return inspect.getsource(getattr(function, "py_func", function))
