"""The initial states of a layer that runs over time, and the states that it keeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import whole_number
from .._typing import Array, ArrayLike, Bools
from ..backends.dispatch import as_array, backend_of, real_array
from ..backends.host import HOST
from ..backends.recurrent import ALL_ROWS, placed
from ..masks.validity import checked_mask
from ._calls import flat
from ._cell_protocol import first_states, zero_states
from ._layer import Layer
from ._types import States
from .stacked_rnn_cells import StackedRNNCells


class KeepsStates(Layer):
    """Base of `RNN`: a cell or a stack of cells, and the states kept between calls."""

    cell: Any
    _cells: list[Any]  # one cell, or those of a stack
    stateful: bool
    states: Any
    _reset: Any  # the states made by reset_state()

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """The states to start from.

        Args:
            batch_size: number of rows B.

        Returns:
            What the call takes as `initial_state`, and `step` as `state`; zeros, unless the
            cell says otherwise.

        Raises:
            TypeError: `batch_size` is not an integer.
            ValueError: it is negative.
        """
        batch = whole_number(batch_size, "batch_size", 0)
        return list(self._outside(self._split(None, batch)))

    def reset_state(self) -> None:
        """Set the states that a stateful layer keeps from batch to batch to zeros.

        The next batch may have another size.
        """
        if self.states is not None:
            self.states = self._reset = zero_states(self.states, None, self._dtype)

    reset_states = reset_state  # Keras has both

    def _first(self, given: States | None, batch: int) -> list[list[Array]]:
        if given is None and self.states is not None and self.states is self._reset:
            given = zero_states(self.states, batch, self._dtype)
        elif self.stateful and self.states is not None and self.states is not self._reset:
            kept = len(flat(self.states)[0])
            if kept != batch:
                raise ValueError(
                    f"inputs of layer {self.name!r} must have batch size {kept}, not {batch}: it "
                    "is stateful and keeps the states of the last batch until reset_state()"
                )
            if given is None:
                given = self.states
        return self._split(given, batch)

    def _placed(self, states: list[list[Array]], given: bool, x: Array) -> list[list[Array]]:
        """The states of each cell, on the device of the inputs; `given` if the caller gave any."""
        if backend_of(x) is not HOST and not all(cell._known for cell in self._cells):
            raise TypeError(
                f"inputs of layer {self.name!r} must be on the host, not on a GPU, because its "
                "cell is not LSTMCell, GRUCell or SimpleRNNCell"
            )
        each = iter(placed(flat(states), given, {"inputs": x}))
        return [[next(each) for _ in own] for own in states]

    def _split(
        self, given: States | None, batch: int, name: str = "initial_state", start: int = 0
    ) -> list[list[Array]]:
        """The states of each cell to start from, from `given` or the cell; see `initial_states`."""
        if isinstance(self.cell, StackedRNNCells):
            return self.cell._first(given, batch, name, start)
        return [first_states(self.cell, given, batch, name, start)]

    def _in_place(self, state: States, batch: int) -> list[list[Array]]:
        """The arrays of `state`, for each cell, checked for changes in place."""
        arrays = flat(state)
        for i, one in enumerate(arrays):
            if not (isinstance(one, np.ndarray) and one.flags.writeable):
                raise TypeError(f"state[{i}] must be an array that can be changed in place")
        each = self._split(state, batch, "state")
        if any(one is not given for one, given in zip(flat(each), arrays, strict=True)):
            known = ", ".join(str(one.dtype) for one in arrays)
            raise TypeError(
                f"state must hold C-contiguous arrays of dtype {self.dtype}, not of {known}, "
                "because they are changed in place: get_initial_state(batch_size) makes them"
            )
        for i, one in enumerate(arrays):
            if any(np.may_share_memory(one, other) for other in arrays[:i]):  # exact: C-contiguous
                raise ValueError(
                    f"state[{i}] must not share memory with another array of state, "
                    "because each is changed in place"
                )
        return each

    def _outside(self, states: list[list[Any]]) -> tuple[Any, ...]:
        """The states of each cell in the structure that callers see."""
        if isinstance(self.cell, StackedRNNCells):
            return tuple(self.cell._like_keras(states))
        return tuple(states[0])


def events_of(mask: ArrayLike, batch: int) -> Bools:
    """Which rows have an event, from the argument `mask`.

    Raises:
        ValueError: it has the wrong shape, or holds NaN.
    """
    events = as_array(mask, "mask")
    if events.shape != (batch,):
        raise ValueError(f"mask must have shape (batch,) = ({batch},), not {events.shape}")
    return np.ascontiguousarray(checked_mask(events), np.bool_)


def readable(x: Array, events: Bools, dtype: np.dtype[Any], states: list[Array]) -> Array:
    """`x` as kernels take it, not in the memory of `states`; rows without an event may differ."""
    flags = x.flags
    fits = x.dtype == dtype and flags.c_contiguous and flags.aligned
    if fits and not any(np.may_share_memory(x, state) for state in states):
        return x
    rows = slice(None) if events is ALL_ROWS else np.flatnonzero(events)
    copy = np.empty(x.shape, dtype)  # untouched memory costs nothing
    copy[rows] = real_array(x[rows], "x", dtype)
    return copy
