"""Stacked cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._typing import Array, Shape, Unpack
from ._cell import KernelCell
from ._cell_protocol import (
    as_list,
    check_cell,
    first_states,
    layer_by_layer,
    one_step,
    output_size_of,
)
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._types import States


class StackedRNNCells(Layer):
    """A stack of cells, as one cell for `RNN`.

    Args:
        cells: the cells, the first one gets the inputs.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, F).
        states: for each cell its states: a list of arrays, or the array of a cell of your own
            whose `state_size` is a number.
        training: passed on to the cells.

    Returns:
        The output of the last cell and the states of all, as a list like `states`.

    Raises:
        TypeError: an item is not a cell.
        ValueError: there are no cells, or the states do not fit.

    Source:
        Keras: `keras.layers.StackedRNNCells`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> stack = fm.layers.StackedRNNCells([fm.layers.LSTMCell(8), fm.layers.GRUCell(4)])
        >>> fm.layers.RNN(stack)(np.ones((2, 5, 3)), mask=[[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]).shape
        (2, 4)
    """

    _options = ("cells",)

    def __init__(
        self,
        cells: Sequence[Any],
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        if not isinstance(cells, (list, tuple)):
            raise TypeError(f"cells must be a list of cells, not {cells!r}")
        if not cells:
            raise ValueError("cells must hold at least one cell")
        if type(self).call is not StackedRNNCells.call:
            raise TypeError(
                "a subclass of StackedRNNCells must keep its call; write a cell instead"
            )
        self.cells = [check_cell(cell, f"cells[{i}]") for i, cell in enumerate(cells)]
        if any(isinstance(cell, StackedRNNCells) for cell in self.cells):
            raise TypeError("cells must not hold StackedRNNCells: put their cells into one list")

    @property
    def state_size(self) -> list[Any]:
        """The `state_size` of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """Size of the last cell's output."""
        return output_size_of(self.cells[-1])

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """The states to start from.

        Args:
            batch_size: number of rows B.

        Returns:
            The states of each cell.
        """
        return self._like_keras(self._first(None, batch_size))

    def build(self, input_shape: Shape) -> None:
        """Make the weights of the cells; see `Layer`."""
        for cell, shape in layer_by_layer(self.cells, tuple(input_shape)):
            cell.build(shape)

    def call(
        self, inputs: Array, states: States | None, training: bool = False
    ) -> tuple[Array, list[Any]]:
        """One step of all cells; see the class."""
        new = []
        for cell, own in zip(self.cells, self._first(states, len(inputs), "states"), strict=True):
            inputs, after = one_step(cell, inputs, own, training)
            new.append(after)
        return inputs, self._like_keras(new)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cells": [cell._anew() for cell in self.cells]}

    def _first(
        self, given: States | None, batch: int, name: str = "initial_state", start: int = 0
    ) -> list[list[Array]]:
        """The states of each cell to start from, from `given` or the cell; see `initial_states`."""
        count = len(self.cells)
        each = [None] * count if given is None else as_list(given)
        if len(each) != count:
            raise ValueError(f"{name} must have the states of {count} cells, not {len(each)}")
        return [
            first_states(cell, own, batch, f"{name}[{i}]")
            for i, (cell, own) in enumerate(zip(self.cells, each, strict=True), start)
        ]

    def _like_keras(self, states: list[list[Any]]) -> list[Any]:
        """The states of each cell, without a list where a user's own cell has one state."""
        return [
            own[0] if self._is_single(cell) else list(own)
            for cell, own in zip(self.cells, states, strict=True)
        ]

    @staticmethod
    def _is_single(cell: Any) -> bool:
        return not (isinstance(cell, KernelCell) or isinstance(cell.state_size, (list, tuple)))
