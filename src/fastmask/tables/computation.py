"""A model applied to columns of rows, in batches that are bounded by their number of steps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from .._frames import frames_of_fastmask
from ..data import ragged
from ..layers._calls import flat
from ..layers._lost_mask import without_warnings
from ..layers._ragged import reason_of
from ..masks.masked import Masked
from ..masks.ragged import Ragged
from ..models.model import Model
from .batch import Rows
from .inputs import Where, inputs_of
from .values import Values, joined

MOST_STEPS = 32768  # in a batch, padding included
MOST_ROWS = 1024
_PADS = (
    "model {!r} needs padding: {}. From now on each batch is padded to its longest row, so "
    "predictions may depend on the length of that row, as in Keras; with a batch size of 1 each "
    "row is computed alone"
)


class Computation:
    """Computes a further column from columns of a batch of rows.

    Sequences stay without padding. They are padded to the longest of their batch, and masked,
    for models that need that, and to the length that the model wants. A batch holds rows that
    follow each other.

    Args:
        model: built; it has an input for each column.
        columns: the names of the columns, in the order of the inputs.
        name: name of the new column; with several outputs `name_0`, `name_1`, and so on, or
            with their names in place of numbers.
        batch_size: the most rows that are computed at once.

    Raises:
        ValueError: the model is not built, or has another number of inputs.
    """

    _padded = False  # whether sequences are padded; found by trying

    def __init__(
        self, model: Model, columns: Sequence[str], name: str, batch_size: int | None = None
    ) -> None:
        self._inputs = inputs_of(model, list(columns))
        self._model, self._name = model, name
        self._rows = MOST_ROWS if batch_size is None else batch_size

    def __call__(self, batch: Rows) -> dict[str, Values]:
        """The new columns.

        Raises:
            ValueError: a column is missing, or holds what the model does not take; or there is
                one already with the name of a new one.
        """
        names = batch.names()
        for one in self._inputs:
            if names and (count := list(names).count(one.column)) != 1:
                listed = ", ".join(map(str, names))
                what = f"are {count} columns" if count else "is no column"
                raise ValueError(f"there {what} {one.column!r}, only {listed}")
        values = [
            one.values(batch.column(one.column), partial(batch.where, one.column))
            for one in self._inputs
        ]
        where = partial(self._where, batch)
        outputs = [self._of_part(values, rows, where) for rows in self._cut(values, len(batch))]
        many = len(outputs[0]) > 1
        found = {
            f"{self._name}_{key}" if many else self._name: joined(one[key] for one in outputs)
            for key in outputs[0]
        }
        taken = set(found) & set(names)
        if taken:
            raise ValueError(f"there is a column {min(taken)!r} already: give another name")
        return found

    def _cut(self, values: list[Values], count: int) -> Iterator[slice]:
        """The rows of each batch; one without rows if there are none."""
        each = [one.lengths(own) for one, own in zip(self._inputs, values, strict=True)]
        lengths = np.sum(each, 0).tolist()
        start, steps, longest = 0, 0, 1
        for row, length in enumerate(lengths):
            steps, longest = steps + length, max(longest, length)
            size = (row - start + 1) * longest if self._padded else steps
            if row > start and (size > MOST_STEPS or row - start == self._rows):
                yield slice(start, row)
                start, steps, longest = row, length, max(1, length)
        yield slice(start, count)

    def _of_part(self, values: list[Values], rows: slice, where: Where) -> dict[Any, Values]:
        """What the model returns for some rows; an error names the row that the model refuses."""
        try:
            return self._outputs(values, rows)
        except (TypeError, ValueError) as error:
            row, fault = self._fault(values, rows)
            if fault is None:
                raise
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"{where(row)}: {fault}") from fault

    def _fault(self, values: list[Values], rows: slice) -> tuple[int, Exception | None]:
        """The first of some rows that the model refuses by itself, and why; found by bisection."""
        start, stop, fault = rows.start, rows.stop, None
        while start < stop:
            middle = (start + stop + 1) // 2
            try:
                self._outputs(values, slice(start, middle))
                start = middle
            except (TypeError, ValueError) as error:
                fault = error
                if middle == stop:
                    break
                stop = middle
        return start, fault if start < stop else None

    def _where(self, batch: Rows, row: int) -> str:
        return ", ".join(batch.where(one.column, row) for one in self._inputs)

    def _outputs(self, values: list[Values], rows: slice) -> dict[Any, Values]:
        """What the model returns for some rows: each output by its name, or its number."""
        try:
            return self._predicted(values, rows, self._padded)
        except (TypeError, ValueError) as error:
            if self._padded:
                raise
            why = reason_of(error)
        found = self._predicted(values, rows, True)
        self._padded = True
        if self._rows > 1:  # a single row is not padded: nothing to warn of
            warnings.warn(_PADS.format(self._model.name, why), stacklevel=frames_of_fastmask())
        return found

    def _predicted(self, values: list[Values], rows: slice, padded: bool) -> dict[Any, Values]:
        pairs = zip(self._inputs, values, strict=True)
        x = [one.batch(own[rows], padded) for one, own in pairs]
        count = max(1, rows.stop - rows.start)
        with without_warnings() if padded else nullcontext():  # of the padding's mask
            outputs: Any = self._model.predict(x[0] if len(x) == 1 else x, count, verbose=0)
        named = outputs if isinstance(outputs, dict) else dict(enumerate(flat(outputs)))
        return {key: _of_rows(one) for key, one in named.items()}


def _of_rows(output: Any) -> Values:
    """A value for each row: of a sequence its valid steps; of one number, the number."""
    if isinstance(output, (Masked, Ragged)):
        rows = ragged(output)
        return rows if rows.valid is None else Ragged(*rows._valid_steps())
    array = np.asarray(output)
    if (
        array.ndim > 2
    ):  # rows of sequences of one length, which those of other batches need not have
        return ragged(array)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
