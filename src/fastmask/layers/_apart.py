"""Layers that compute each row of a `Ragged` by itself, and join what fits together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._typing import Array, Ints, Shape
from ..masks.masked import Masked
from ..masks.ragged import Ragged
from ._by_length import Part, grouped, numbers, rows_of, sequences

COMBINES = "it combines rows"
_STEPS = 1, 12, 24  # of rows of zeros, which show what axes vary; 12 and 24 have many divisors

Group = tuple[Ints, Ints]  # numbers of rows with the same lengths, and these lengths


class OutOfRange(IndexError, ValueError):
    """An operation takes a step that is not there; the cause is NumPy's error."""


def rows_apart(layer: Any, call: Callable[[Any, dict[str, Any]], Any], inputs: Any) -> Any:
    """Call a layer for each row by itself; rows of the same lengths make one batch.

    The results are a `Ragged` if their second axis depends on the number of steps; otherwise they
    have one shape, and are an array. For a row without steps, a `Ragged` holds what the layer
    returns for no steps, and an array what it returns for one step of zeros.

    Args:
        layer: the layer.
        call: calls it.
        inputs: a `Ragged`, or a list with one in it.

    Raises:
        ValueError: the layer does not take a single row, the result for several rows is not one
            for each, or the results cannot be joined.
    """
    apart = _Apart(layer, call, inputs)
    groups = list(grouped([one.lengths for one in apart.items if type(one) is Ragged]))
    filled = [one for one in groups if one[1].all()]
    longer = [int(filled[0][1].max()) + 1] if filled else []
    if filled:
        rows, lengths = filled[0]
        one, two = apart.of(rows[:1], lengths), apart.of(rows[[0, 0]], lengths)
        if [(2, *y.shape[1:]) for y in one] != [y.shape for y in two]:
            raise refused(layer, COMBINES)
    parts = [(rows, apart.of(rows, lengths)) for rows, lengths in filled]
    tried = [y for steps in (*_STEPS, *longer) if (y := apart.of_zeros(steps)) is not None]
    known = [outputs for _, outputs in parts] or tried[:1]
    counts = {len(outputs) for outputs in known}
    if len(counts) != 1:
        raise refused(layer, "the number of its results depends on the number of steps")
    tried = [outputs for outputs in tried if len(outputs) in counts]
    empty = [one for one in groups if not one[1].all()]
    joined = [
        _joined(
            apart,
            number,
            [Part(rows, outputs[number]) for rows, outputs in parts],
            [outputs[number] for outputs in tried],
            empty,
        )
        for number in range(len(known[0]))
    ]
    return joined if apart.several else joined[0]


def refused(layer: Any, why: str) -> ValueError:
    """The error of a layer that cannot compute each row by itself."""
    kind = getattr(layer, "operation", type(layer).__name__)
    return ValueError(
        f"layer {layer.name!r} ({kind}) cannot compute each row of a Ragged by itself: {why}; "
        f"{layer._instead_of_ragged}"
    )


class _Apart:
    """Calls a layer on some rows of its inputs."""

    several = False  # whether the layer returns a list

    def __init__(self, layer: Any, call: Callable[[Any, dict[str, Any]], Any], inputs: Any) -> None:
        self.layer, self._call, self._listed = layer, call, isinstance(inputs, list)
        self.items = inputs if self._listed else [inputs]
        self.count = len(self.items[0])
        self._holes = any(type(one) is Ragged and one.valid is not None for one in self.items)

    def of(self, rows: Ints, lengths: Ints, least: int = 0) -> list[Any]:
        """The outputs for rows of these lengths, with `least` steps of zeros where there is none.

        Raises:
            ValueError: the layer does not take them, or does not return one result for each row.
        """
        left = iter(np.maximum(lengths, least).tolist())

        def taken(one: Any) -> Any:
            if type(one) is Ragged:
                return rows_of(one, rows, next(left), self._holes, masks=False)
            masked = type(one) is Masked
            return Masked(one.data[rows], one.mask.valid[rows]) if masked else one[rows]

        return self._outputs([taken(one) for one in self.items], len(rows))

    def of_zeros(self, steps: int) -> list[Any] | None:
        """The outputs for a row with so many steps of zeros; None if the layer does not take it."""
        sizes = [(1, *(steps if n is None else n for n in one.shape[1:])) for one in self.items]
        pairs = zip(sizes, self.items, strict=True)
        try:
            return self._outputs([np.zeros(size, one.dtype) for size, one in pairs], 1)
        except ValueError:
            return None

    def of_nothing(self, rows: Ints, lengths: Ints, number: int, none: Array | None) -> Any:
        """One output for rows without steps, or with a step of zeros; `none` if there is none."""
        if none is None:
            return self.of(rows, lengths, 1)[number]
        try:
            return self.of(rows, lengths)[number]
        except ValueError:
            return none

    def _outputs(self, given: list[Any], count: int) -> list[Any]:
        try:
            outputs = self._call(given if self._listed else given[0], {})
        except (IndexError, ValueError) as error:
            why = error.__cause__ if isinstance(error, OutOfRange) else error
            raise refused(self.layer, str(why)) from error
        self.several = isinstance(outputs, list)
        listed = outputs if self.several else [outputs]
        if any(y.shape[:1] != (count,) for y in listed):
            raise refused(self.layer, COMBINES)
        return list(listed)


def _joined(
    apart: _Apart, number: int, parts: list[Part], tried: list[Array], empty: list[Group]
) -> Any:
    """One output for all rows.

    Args:
        apart: the layer.
        number: which of its outputs.
        parts: this output for the rows that have steps.
        tried: this output for rows of zeros.
        empty: the other rows.
    """
    found = {part.output.shape[1:] for part in parts}
    of_steps = _varies(found, {y.shape[1:] for y in tried})
    of_steps = of_steps or any(isinstance(part.output, Masked) for part in parts)
    like = parts[0].output if parts else tried[0]
    for rows, lengths in empty:
        none = np.zeros((len(rows), 0, *like.shape[2:]), like.dtype)
        output = apart.of_nothing(rows, lengths, number, none if of_steps else None)
        parts = [*parts, Part(rows, output)]
    shapes = {part.output.shape[1 + of_steps :] for part in parts} or {like.shape[1 + of_steps :]}
    if len(shapes) > 1:
        raise refused(apart.layer, f"results have shapes {sorted(shapes)}, which cannot be joined")
    return (sequences if of_steps else numbers)(parts, apart.count, shapes.pop(), like.dtype)


def _varies(found: set[Shape], tried: set[Shape]) -> bool:
    """Whether the first size of the results of rows is a number of steps, and all others agree."""
    if len(found) > 1:
        return len({shape[1:] for shape in found}) == 1
    sizes, others = (
        {shape[part] for shape in found | tried} for part in (slice(1), slice(1, None))
    )
    return (len(sizes) > 1 or (0,) in sizes) and len(others) == 1
