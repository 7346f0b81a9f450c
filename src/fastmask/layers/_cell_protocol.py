"""The interface of all cells: those that the kernels know, and custom ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._checks import whole_number
from .._typing import Array, Ints, Shape
from ..backends.dispatch import as_array, real_array
from ..backends.looked_up import LookedUp
from ..backends.recurrent import initial_states
from ..backends.rows import Rows
from ..masks.mask import Mask
from ._cell import KernelCell
from ._layer import Layer
from ._loop import loop
from ._types import States


def check_cell(cell: Any, name: str) -> Any:
    """Return `cell`, after checking it; messages call it `name`.

    Raises:
        TypeError: it is not a layer, or lacks call or state_size.
    """
    if not isinstance(cell, Layer):
        makes = isinstance(cell, type) or hasattr(cell, "layer_class")  # of `fastmask.cell`
        hint = ": call it with a number of units" if makes else ""
        raise TypeError(f"{name} must be a fastmask Layer, not {cell!r}{hint}")
    if type(cell).call is Layer.call or not hasattr(cell, "state_size"):
        own = getattr(cell, "_cell_class", None)
        hint = f": use fastmask.layers.{own.__name__}, or the layer by itself" if own else ""
        raise TypeError(
            f"{name} must have call(inputs, states) and state_size, which {cell!r} lacks{hint}"
        )
    return cell


def sizes_of(cell: Any) -> list[int]:
    """The sizes of the states."""
    size = cell.state_size
    sizes = list(size) if isinstance(size, (list, tuple)) else [size]
    return [whole_number(one, f"state_size of {cell.name!r}", 0) for one in sizes]


def output_size_of(cell: Any) -> int:
    """The size of the output."""
    size: int | None = getattr(cell, "output_size", None)
    return sizes_of(cell)[0] if size is None else size


def first_states(
    cell: Any, given: States | None, batch: int, name: str = "initial_state", start: int = 0
) -> list[Array]:
    """The states to start from: `given`, or the cell's own; for `start` see `initial_states`."""
    if isinstance(cell, KernelCell):
        return initial_states(given, cell._sizes, batch, cell._dtype, name, start)
    make = getattr(cell, "get_initial_state", None)
    if given is not None or make is None:
        return initial_states(given, sizes_of(cell), batch, cell._dtype, name, start)
    own = [as_array(one, name) for one in as_list(make(batch_size=batch))]
    count = len(sizes_of(cell))
    if len(own) != count or any(one.shape[:1] != (batch,) for one in own):
        raise ValueError(
            f"get_initial_state of cell {cell.name!r} must return {count} arrays with {batch} "
            f"rows, not arrays of shapes {[one.shape for one in own]}"
        )
    return [one.astype(cell._dtype, copy=False) for one in own]


def zero_states(states: Any, batch: int | None, dtype: np.dtype[Any]) -> Any:
    """States of zeros in the same nested lists, for as many rows, or for `batch` rows."""
    if isinstance(states, (list, tuple)):
        return type(states)(zero_states(one, batch, dtype) for one in states)
    rows, *sizes = states.shape
    return np.zeros((rows if batch is None else batch, *sizes), dtype)


def as_list(states: object) -> list[Any]:
    """One state or several, as a list."""
    return list(states) if isinstance(states, (list, tuple)) else [states]


def over_time(
    cell: Any,
    x: Any,
    mask: Mask | Rows | None,
    first: list[Array],
    training: bool,
    return_sequences: bool,
    go_backwards: bool,
    zero_output_for_mask: bool,
) -> tuple[Array, list[Array]]:
    """Run a cell over the valid steps of a sequence; see `KernelCell._sequence`."""
    options = return_sequences, go_backwards, zero_output_for_mask
    if cell._known:
        known: KernelCell = cell
        if type(x) is not LookedUp:
            x = real_array(x, "inputs", cell._dtype)
        return known._sequence(x, mask, first, training, *options)
    assert not isinstance(mask, Rows)  # see `RNN._ragged_way`
    size = output_size_of(cell)

    def step(now: Array, states: list[Array], rows: Ints) -> tuple[Array, list[Array]]:
        output, after = one_step(cell, now, states, training)
        if output.shape != (len(rows), size):
            raise ValueError(
                f"the output of cell {cell.name!r} must have shape {(len(rows), size)}, "
                f"not {output.shape}"
            )
        return output, after

    return loop(step, cell._cast(x), mask, first, size, *options)


def one_step(cell: Any, x: Array, states: list[Array], training: bool) -> tuple[Array, list[Array]]:
    """The output of a cell and its states after one step.

    Raises:
        TypeError: the cell does not return a pair.
        ValueError: the states have other shapes than before.
    """
    spec = cell._spec()
    options = {"training": training} if spec.training else {}
    before = [state.shape for state in states]
    returned = cell.call(x, states, **options)
    if not isinstance(returned, (list, tuple)) or len(returned) != 2:
        raise TypeError(f"cell {cell.name!r} must return its output and its states")
    output, after = returned[0], [np.asarray(one) for one in as_list(returned[1])]
    if [state.shape for state in after] != before:
        raise ValueError(
            f"the states that cell {cell.name!r} returns must have shapes {before}, as those it "
            f"is given, not {[state.shape for state in after]}"
        )
    return np.asarray(output), after


def layer_by_layer(cells: list[Any], input_shape: Shape) -> Iterator[tuple[Any, Shape]]:
    """Each cell of a stack, with the shape of its inputs."""
    for cell in cells:
        yield cell, input_shape
        input_shape = (input_shape[0], output_size_of(cell))
