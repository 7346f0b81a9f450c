"""A cell as the CPU's kernels see it, derived from its formula: weights, products, rounds."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from ...activations import ACTIVATIONS
from ...cells.cell import Cell
from ..gemm import Tiles
from ..packing import Layout
from ..product import product
from ..quantized.bounds import is_bounded
from ..quantized.formats import Format
from ..quantized.product import MOST_SUMS, quantized_product
from .rounds import Rounds
from .units import units_of_round

PANEL = 4  # most registers of units side by side, where a unit has one sum
Part = tuple[int, int, int, int, int]
"""A part of a round's product with weights: the round, the plane that is multiplied (0 for h before
the step), the number of gates, the first of them among the recurrent weights, its sum in z."""


class CellCode(NamedTuple):
    """What the time loop needs of a cell.

    A round of a step adds products to the sums in z, which begin with bias + x W. From them
    `compute_units` (see `units`) computes the results, for the units of a panel.
    """

    cell: Cell
    layout: Layout
    tiles: Tiles
    multiply: Any  # from `product`, for the tiles
    panel: int  # most registers of units in a panel
    rounds: int
    planes: int  # of state, see `rounds`
    parts: tuple[Part, ...]
    inputs: tuple[int, ...]  # places in `cell.inputs` of the packed kernel's columns
    recurrents: tuple[int, ...]  # those in `cell.recurrents` of the recurrent kernel's
    biases: tuple[int, ...]  # those in `cell.sums` of the bias
    compute_units: Any
    format: Format | None  # of the weights; None for the dtype of everything else
    gathered: bool

    @property
    def name(self) -> str:
        """Identifies the cell's compiled code."""
        form = f"_{self.format.name}" if self.format else ""
        form += "_gathered" if self.gathered else ""
        return f"{re.sub(r'[^a-zA-Z0-9]', '_', self.cell.name)}_{self.cell.digest}{form}"

    def weight_bytes(self, dtype: np.dtype[Any]) -> int:
        """Bytes of a weight."""
        return dtype.itemsize // self.layout.group

    def is_bounded(self, activation: int, recurrent_activation: int) -> int:
        """1 if one scale fits all states, which only matters in formats with scales."""
        if self.format is None or not self.format.scaled:
            return 0
        return int(
            is_bounded(self.cell, ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation])
        )


def code_of(cell: Cell, format: Format | None = None, gathered: bool = False) -> CellCode:
    """The `CellCode` of a cell.

    Args:
        cell: the cell.
        format: the format of the weights; None for the dtype of everything else.
        gathered: whether a table of sums, bias + x W, replaces x, and each step has the number of
            a row: as with an embedding, whose rows are all known.
    """
    rounds = Rounds(cell)
    calls = {call.args[0].args[0]: rounds.products[call] for call in cell.called}
    of_h = [name for name in cell.order if name in cell.recurrents and name not in calls]
    recurrents = of_h + [name for name in cell.order if name in calls]
    parts = [(0, 0, len(of_h), 0, cell.order.index(of_h[0]) if of_h else 0)]
    for column, name in enumerate(recurrents):
        if name in calls:
            number, plane, gates, first, place = parts[-1]
            if calls[name] == (number, plane):  # the same value: side by side, as in z
                parts[-1] = number, plane, gates + 1, first, place
            else:
                parts.append((*calls[name], 1, column, cell.order.index(name)))
    inputs = [name for name in cell.order if name in cell.inputs]
    layout = Layout(
        bias=len(cell.saved),
        vectors=len(cell.vectors),
        inputs=len(inputs),
        recurrent=len(recurrents),
        strip=_strip(len(inputs), parts, len(recurrents)),
        paired=len(cell.sums) % 2 == 0
        and len(inputs) == len(of_h) == len(cell.sums)
        and len(rounds.rounds) == 1,
        group=1 if format is None else format.group,
        scaled=format is not None and format.scaled,
    )
    one = layout.bias == layout.inputs == layout.recurrent == len(rounds.rounds) == 1
    panel = PANEL if one else 1
    row = layout.bias * panel
    tiles = _tiles(layout, row, {len(inputs), *(part[2] for part in parts)}, panel)
    if format is not None:
        tiles = tiles._replace(sums=MOST_SUMS)
    return CellCode(
        cell=cell,
        layout=layout,
        tiles=tiles,
        multiply=product(tiles) if format is None else quantized_product(format, tiles),
        panel=panel,
        rounds=len(rounds.rounds),
        planes=rounds.planes,
        parts=tuple(parts),
        inputs=tuple(map(cell.inputs.index, inputs)),
        recurrents=tuple(map(cell.recurrents.index, recurrents)),
        biases=tuple(map(cell.sums.index, cell.order)),
        compute_units=units_of_round(cell, rounds, panel, row, format.series if format else None),
        format=format,
        gathered=gathered,
    )


def _strip(inputs: int, parts: list[Part], recurrent: int) -> int:
    """The widest strip such that each part of a product is whole strips, or lies in one."""

    def fits(strip: int) -> bool:
        return inputs % strip == recurrent % strip == 0 and all(
            (column % strip == 0 and gates % strip == 0) or column % strip + gates <= strip
            for _, _, gates, column, _ in parts
        )

    return next(strip for strip in (3, 2, 1) if fits(strip))


def _tiles(layout: Layout, row: int, products: set[int], panel: int) -> Tiles:
    """Tiles for products with these numbers of gates."""
    if panel > 1:
        return Tiles(layout.strip, row, tuple(range(1, panel + 1)))
    most = max(products)
    usual = layout.strip if layout.strip > 1 else max(1, min(3, most))
    halves = {gates // 2 for gates in products} if layout.paired else set()
    widths = {usual, *(registers % usual for registers in products | halves)} - {0}
    few: tuple[int, ...] = ()
    if usual == 2 and most >= 4:
        few = (2, 4) if widths == {2} else (1, 2, 3, 4)
    return Tiles(layout.strip, row, (*sorted(widths - {usual}), usual), few)
