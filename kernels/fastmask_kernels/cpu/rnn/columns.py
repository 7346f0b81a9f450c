"""What the backward pass has to know of a cell: where blocks of H columns stand, its rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    @property
    def runs(self) -> Iterator[tuple[int, Blocks]]:
        """Those that stand side by side, each run with its first one's place among all."""
        begin = 0
        for n in range(1, len(self.numbers) + 1):
            if n == len(self.numbers) or self.numbers[n] != self.numbers[n - 1] + 1:
                yield begin, Blocks(self.numbers[begin:n], together=True)
                begin = n


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
        vectors: of `gates`, where the gradients of the vectors begin.
    """

    cell: Cell
    backward: Backward
    inputs: Blocks
    at_once: Blocks
    first: int
    called: tuple[Called, ...]
    bias: Blocks
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
