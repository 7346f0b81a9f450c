"""Layers that combine several steps of a row, on rows of different lengths without padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array, Bools, Ints, Shape
from ..backends.rows import Rows, offsets_of
from ..masks.mask import Mask
from ..masks.masked import Masked
from ..masks.ragged import Ragged


class Part(NamedTuple):
    """The outputs of rows whose inputs have the same lengths."""

    rows: Ints  # row numbers
    output: Any


def by_length(
    layer: Any,
    call: Callable[[Any, dict[str, Any]], Any],
    inputs: Any,
    kwargs: dict[str, Any],
    shape: Shape,
) -> Any:
    """Call a layer on all rows of the same lengths at once.

    Args:
        layer: the layer.
        call: calls it.
        inputs: a `Ragged`, or a list with one in it.
        kwargs: further arguments, some of which may be `Ragged`.
        shape: shape of the output, which is a sequence if the second size is None.
    """
    listed = inputs if isinstance(inputs, list) else [inputs]
    named = {name: one for name, one in kwargs.items() if type(one) is Ragged}
    items = [*listed, *named.values()]
    of_steps, same_steps = shape[1:2] == (None,), layer._keeps_steps
    holes = any(type(one) is Ragged and one.valid is not None for one in items)
    least = int(layer._needs_a_step)

    def part(rows: Ints, lengths: Ints) -> Part:
        of_ragged = iter(lengths.tolist())
        taken = [
            rows_of(one, rows, max(next(of_ragged), least), holes, layer.supports_masking)
            if type(one) is Ragged
            else one[rows]
            for one in items
        ]
        given, options = taken[: len(listed)], dict(zip(named, taken[len(listed) :], strict=True))
        first = given if isinstance(inputs, list) else given[0]
        return Part(rows, call(first, {**kwargs, **options}))

    parts = []
    for rows, lengths in grouped([one.lengths for one in items if type(one) is Ragged]):
        first_length = lengths[0] if type(items[0]) is Ragged else items[0].shape[1]
        nothing = same_steps and not first_length
        if of_steps and (nothing or _is_short(layer, inputs, lengths)):
            continue
        parts.append(part(rows, lengths))
    step = tuple(n or 0 for n in shape[1 + of_steps :])
    like = parts[0].output if parts else np.zeros((0, 0, *step), layer._output_dtype)
    together = sequences if of_steps else numbers
    return together(parts, len(items[0]), step, like.dtype)


def grouped(lengths: list[Ints]) -> Iterator[tuple[Ints, Ints]]:
    """Groups of rows with the same lengths in all inputs, and these lengths."""
    if not len(lengths[0]):
        return
    each = np.stack(lengths, axis=1)
    order = np.lexsort(each.T[::-1])
    changes = np.flatnonzero((np.diff(each[order], axis=0) != 0).any(axis=1)) + 1
    for rows in np.split(order, changes):
        yield rows, each[rows[0]]


def _is_short(layer: Any, inputs: Any, lengths: Ints) -> bool:
    """Whether rows of these lengths have too few steps for a single output step."""
    if layer._keeps_steps or isinstance(inputs, list):
        return False
    try:
        layer.compute_output_shape((None, int(lengths[0]), *inputs.shape[2:]))
    except ValueError:
        return True
    return False


def rows_of(ragged: Ragged, rows: Ints, length: int, holes: bool, masks: bool) -> Any:
    """Rows of one length as a batch, masked if there are holes and the layer supports masks."""
    values = ragged.values
    if length > ragged.lengths[rows[0]]:  # add a step where there is none
        nothing = np.zeros((len(rows), length, *values.shape[1:]), values.dtype)
        return Masked(nothing, np.zeros(nothing.shape[:2])) if masks else nothing
    places = ragged.offsets[rows][:, np.newaxis] + np.arange(length)
    x = values[places]
    if not holes:
        return x
    valid = ragged.valid
    flags: Bools = np.ones(places.shape, np.bool_) if valid is None else valid[places]
    return Masked._of(x, Mask._of(flags))


def numbers(parts: list[Part], count: int, step: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Put together outputs with one array for each row."""
    whole: Array = np.empty((count, *step), dtype)
    for rows, output in parts:
        whole[rows] = output
    return whole


def sequences(parts: list[Part], count: int, step: tuple[int, ...], dtype: np.dtype[Any]) -> Ragged:
    """Put together outputs that are sequences, as a `Ragged`."""
    lengths = np.zeros(count, np.int64)
    for rows, output in parts:
        lengths[rows] = output.shape[1]
    offsets = offsets_of(lengths)
    values = np.empty((int(offsets[-1]), *step), dtype)
    words = next((y.mask.shape[2:] for _, y in parts if isinstance(y, Masked)), ())
    valid = np.ones((len(values), *words), np.bool_)
    for rows, output in parts:
        places = offsets[rows][:, np.newaxis] + np.arange(output.shape[1])
        if isinstance(output, Masked):
            valid[places] = output.mask.valid
            values[places] = output.data
        else:
            values[places] = output
    return Ragged._of(values, Rows(offsets).with_valid(valid))
