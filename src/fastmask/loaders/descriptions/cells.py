"""The cells of `fastmask.cell`, told by their weights."""

from __future__ import annotations

from ...cells import CELLS, Cell
from ..weights.stored import Module

NOTE = (
    "RNN(cell(units)): weights of a cell of fm.cell or fm.cells, with its number of units where it "
    "is known; kernels have a row for each feature"
)


def layer_of_cell(module: Module) -> str | None:
    """The layer that has such weights, like "RNN(peephole_lstm(8))"; None if no cell has them.

    Names of vectors tell the cells of `fastmask.cells` that have some; all others are a "cell".
    """
    shapes = {name: part.shape for name, part in module.parts.items()}
    kernel, recurrent = shapes.pop("kernel", ()), shapes.pop("recurrent_kernel", None)
    bias = shapes.pop("bias", None)
    axes = [(kernel, 2), (recurrent, 2), (bias, 1), *((vector, 1) for vector in shapes.values())]
    if any(shape is not None and len(shape) != count for shape, count in axes):
        return None
    rows = [shape[0] for shape in (recurrent, *shapes.values()) if shape is not None]
    if not rows:  # units and number of sums are not known apart
        return "RNN(cell(units))"
    units = rows[0]
    columns = {shape[-1] for shape in (kernel, recurrent, bias) if shape is not None}
    if units < 1 or set(rows) != {units} or any(count % units for count in columns):
        return None
    sums = [None if shape is None else shape[-1] // units for shape in (kernel, recurrent, bias)]
    known = (name for name, cell in CELLS.items() if _fits(cell, sums, set(shapes)))
    return f"RNN({next(known, 'cell')}({units}))"


def _fits(cell: Cell, sums: list[int | None], vectors: set[str]) -> bool:
    """Whether a cell has these vectors, and as many sums in its kernels and bias."""
    of_x, of_h, of_bias = sums
    return (
        bool(vectors)
        and set(cell.vectors) == vectors
        and (of_x, of_h) == (len(cell.inputs), len(cell.recurrents) or None)
        and of_bias in (None, len(cell.sums))
    )
