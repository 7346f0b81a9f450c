"""Where the blocks of H columns of a cell's weights stand in a row of z, and of `gates`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...cells import Cell
from ...cells.rounds import backward_of

Array = NDArray[np.floating[Any]]


class Called(NamedTuple):
    """A sum that is called on a value, by numbers of blocks."""

    block: int  # of `gates`: the sum, or its gradient
    column: int  # of the recurrent kernel
    operand: int  # of `gates`: the value


class Columns(NamedTuple):
    """Blocks of a cell, by their numbers.

    Attributes:
        inputs: of the kernel, in the order of z, whose first blocks they are.
        at_once: of the recurrent kernel, those that are multiplied by h, in the order of z.
        first: of z, where these begin.
        called: the others, in the order of the rounds of the backward pass.
        bias: of the bias, in the order of z.
        vectors: of `gates`, where the gradients of the vectors begin.
    """

    inputs: tuple[int, ...]
    at_once: tuple[int, ...]
    first: int
    called: tuple[Called, ...]
    bias: tuple[int, ...]
    vectors: int


@cache
def columns_of(cell: Cell) -> Columns:
    """The blocks of a cell."""
    at_once = [s for s in cell.order if s in cell.recurrents and s not in cell.formula.second]
    operands = [s.args[0].args[0] for s in cell.called]
    rounds = (each.called for each in backward_of(cell).rounds)
    called = [(n, cell.order[n]) for n in rounds if n is not None]
    return Columns(
        tuple(cell.inputs.index(s) for s in cell.order if s in cell.inputs),
        tuple(cell.recurrents.index(s) for s in at_once),
        cell.order.index(at_once[0]) if at_once else 0,
        tuple(
            Called(n, cell.recurrents.index(s), len(cell.sums) + operands.index(s))
            for n, s in called
        ),
        tuple(cell.sums.index(s) for s in cell.order),
        len(cell.saved),
    )


def _side_by_side(numbers: Sequence[int]) -> bool:
    return list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))


def blocks_of(weights: Array, numbers: Sequence[int], units: int) -> Array:
    """Some blocks of columns, in this order: a view where they stand like that."""
    if not numbers or _side_by_side(numbers):
        begin = numbers[0] * units if numbers else 0
        return weights[:, begin : begin + len(numbers) * units]
    return np.concatenate([weights[:, n * units : (n + 1) * units] for n in numbers], axis=1)


@contextmanager
def blocks_to_write(weights: Array, numbers: Sequence[int], units: int) -> Iterator[Array]:
    """The same to write to, in the order of `numbers`."""
    if not numbers or _side_by_side(numbers):
        yield blocks_of(weights, numbers, units)
        return
    blocks = np.empty((len(weights), len(numbers) * units), weights.dtype)
    yield blocks
    for place, n in enumerate(numbers):
        weights[:, n * units : (n + 1) * units] = blocks[:, place * units : (place + 1) * units]
