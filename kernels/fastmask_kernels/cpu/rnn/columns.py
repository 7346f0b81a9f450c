"""What the backward pass has to know of a cell: where blocks of H columns stand, its rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...cells import Cell
from ...cells.rounds import Backward, backward_of

Array = NDArray[np.floating[Any]]


class Blocks(NamedTuple):
    """Some blocks."""

    numbers: tuple[int, ...]
    together: bool  # whether they stand side by side, in this order


class Called(NamedTuple):
    """A sum that is called on a value, by numbers of blocks."""

    block: int  # of `gates`: the sum, or its gradient
    column: Blocks  # of the recurrent kernel
    operand: int  # of `gates`: the value


class Columns(NamedTuple):
    """A cell, and its blocks by their numbers.

    Attributes:
        cell: whose blocks they are.
        backward: the rounds of a step.
        inputs: of the kernel, in the order of z, whose first blocks they are.
        at_once: of the recurrent kernel, those that are multiplied by h, in the order of z.
        first: of z, where these begin.
        called: the others, in the order of the rounds of the backward pass.
        bias: of the bias, in the order of z.
        sums: of z, in the order of the bias.
        vectors: of `gates`, where the gradients of the vectors begin.
    """

    cell: Cell
    backward: Backward
    inputs: Blocks
    at_once: Blocks
    first: int
    called: tuple[Called, ...]
    bias: Blocks
    sums: Blocks
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
        _blocks(cell.inputs, [s for s in cell.order if s in cell.inputs]),
        _blocks(cell.recurrents, at_once),
        cell.order.index(at_once[0]) if at_once else len(cell.inputs),
        tuple(
            Called(n, _blocks(cell.recurrents, [s]), len(cell.sums) + operands.index(s))
            for n, s in called
        ),
        _blocks(cell.sums, cell.order),
        _blocks(cell.order, cell.sums),
        len(cell.saved),
    )


def _blocks(columns: Sequence[str], sums: Sequence[str]) -> Blocks:
    """Those of some sums."""
    numbers = tuple(map(columns.index, sums))
    return Blocks(numbers, all(m == n + 1 for n, m in pairwise(numbers)))


def blocks_of(weights: Array, blocks: Blocks, units: int) -> Array:
    """Some blocks of columns, in this order: a view where they stand like that."""
    if blocks.together:
        begin = blocks.numbers[0] * units if blocks.numbers else 0
        return weights[..., begin : begin + len(blocks.numbers) * units]
    each = [weights[..., n * units : (n + 1) * units] for n in blocks.numbers]
    return np.concatenate(each, axis=-1)


def write_blocks(
    weights: Array, blocks: Blocks, units: int, write: Callable[[Array], None]
) -> None:
    """Have the same written, in this order."""
    if blocks.together:
        write(blocks_of(weights, blocks, units))
        return
    out = np.empty((len(weights), len(blocks.numbers) * units), weights.dtype)
    write(out)
    for place, n in enumerate(blocks.numbers):
        weights[:, n * units : (n + 1) * units] = out[:, place * units : (place + 1) * units]
