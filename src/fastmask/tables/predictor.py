"""A model applied to columns of rows, in batches that are bounded by their number of steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..layers._calls import flat
from ..masks.masked import Masked
from ..masks.padding import unpad
from ..models.model import Model
from .batch import Batch, Values
from .inputs import inputs_of

MOST_STEPS = 32768  # of a batch, with those that pad it
MOST_ROWS = 1024


class Predictor:
    """Predicts a further column from columns of a batch of rows.

    Sequences are padded to the longest of their batch, or to the length that the model wants, and
    masked. A batch holds rows that follow each other.

    Args:
        model: built; it has an input for each column.
        columns: the names of the columns, in the order of the inputs.
        name: of the new column; with several outputs `name_0`, `name_1`, and so on, or
            with their names in the place of numbers.
        batch_size: the most rows that are computed at once.

    Raises:
        ValueError: the model is not built, or has another number of inputs.
    """

    def __init__(
        self, model: Model, columns: Sequence[str], name: str, batch_size: int | None = None
    ) -> None:
        self._inputs = inputs_of(model, list(columns))
        self._model, self._name = model, name
        self._rows = MOST_ROWS if batch_size is None else batch_size

    def __call__(self, batch: Batch) -> dict[str, Values]:
        """The new columns.

        Raises:
            ValueError: a column is missing, or holds what the model does not take; or there is
                one already with the name of a new one.
        """
        names = batch.names()
        for one in self._inputs:
            if len(batch) and one.column not in names:
                raise ValueError(f"there is no column {one.column!r}, only {', '.join(names)}")
        values = [one.values(batch.column(one.column), batch.first) for one in self._inputs]
        outputs = [self._outputs(values, rows) for rows in self._cut(values, len(batch))]
        many = len(outputs[0]) > 1
        found = {
            f"{self._name}_{key}" if many else self._name: _joined([one[key] for one in outputs])
            for key in outputs[0]
        }
        taken = set(found) & set(names)
        if taken:
            raise ValueError(f"there is a column {min(taken)!r} already: give another name")
        return found

    def _cut(self, values: list[Values], count: int) -> Iterator[slice]:
        """The rows of each batch; one without rows if there are none."""
        lengths = np.sum(
            [one.lengths(own) for one, own in zip(self._inputs, values, strict=True)], 0
        )
        start, longest = 0, 1
        for row in range(count):
            longest = max(longest, int(lengths[row]))
            full = (row - start + 1) * longest > MOST_STEPS or row - start == self._rows
            if full and row > start:
                yield slice(start, row)
                start, longest = row, max(1, int(lengths[row]))
        yield slice(start, count)

    def _outputs(self, values: list[Values], rows: slice) -> dict[Any, Values]:
        """What the model returns for some rows: each output by its name, or its number."""
        x = [one.batch(own[rows]) for one, own in zip(self._inputs, values, strict=True)]
        count = max(1, rows.stop - rows.start)
        outputs: Any = self._model.predict(x[0] if len(x) == 1 else x, count, verbose=0)
        named = outputs if isinstance(outputs, dict) else dict(enumerate(flat(outputs)))
        return {key: _of_rows(one) for key, one in named.items()}


def _of_rows(output: Any) -> Values:
    """A value for each row: of a sequence its valid steps; of one number, the number."""
    if isinstance(output, Masked):
        return unpad(output)
    array = np.asarray(output)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _joined(parts: Sequence[Values]) -> Values:
    """The values of all rows; a list where they differ in length."""
    arrays = [part for part in parts if not isinstance(part, list)]
    if len(arrays) == len(parts) and len({one.shape[1:] for one in arrays}) == 1:
        return np.concatenate(arrays)
    return [row for part in parts for row in part]
