"""What the backward pass needs to know of a cell: its blocks of H columns, and its rounds."""

from __future__ import annotations

from typing import NamedTuple

from ...cells import Cell
from ...cells.rounds import Backward, backward_of


class Called(NamedTuple):
    """A sum that is called on a value, by numbers of blocks."""

    block: int  # of `gates`: the sum, or its gradient
    column: int  # of the recurrent kernel
    operand: int  # of `gates`: the value


class Columns(NamedTuple):
    """A cell, and its blocks by their numbers.

    Attributes:
        cell: the cell.
        backward: the rounds of a step.
        inputs: blocks of the kernel, in the order of z, where they come first.
        at_once: blocks of the recurrent kernel that are multiplied by h, in the order of z.
        first: the block of z where these begin.
        called: the other ones, in the order of the rounds of the backward pass.
        bias: blocks of the bias, in the order of z.
        vectors: the block of `gates` where the gradients of the vectors begin.
    """

    cell: Cell
    backward: Backward
    inputs: tuple[int, ...]
    at_once: tuple[int, ...]
    first: int
    called: tuple[Called, ...]
    bias: tuple[int, ...]
    vectors: int


def columns_of(cell: Cell) -> Columns:
    """The blocks of a cell."""
    backward = backward_of(cell)
    at_once = [s for s in cell.order if s in cell.recurrents and s not in cell.formula.second]
    operands = [s.args[0].args[0] for s in cell.called]
    rounds = (each.called for each in backward.rounds)
    called = [(n, cell.order[n]) for n in rounds if n is not None]
    return Columns(
        cell,
        backward,
        tuple(cell.inputs.index(s) for s in cell.order if s in cell.inputs),
        tuple(map(cell.recurrents.index, at_once)),
        cell.order.index(at_once[0]) if at_once else len(cell.inputs),
        tuple(
            Called(n, cell.recurrents.index(s), len(cell.sums) + operands.index(s))
            for n, s in called
        ),
        tuple(map(cell.sums.index, cell.order)),
        len(cell.saved),
    )
