"""The rows given to `predict`, and how they are divided into batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._checks import shown
from .._typing import Array, Ints, Shape
from ..backends.dispatch import as_array, backend_of
from ..backends.host import HOST
from ..data import ARROW, ragged
from ..data.rows import find_fault
from ..layers._text import holds_texts, text_array
from ..masks.masked import Masked
from ..masks.padding import pad
from ..masks.ragged import Ragged, rows_at
from .taken import Taken

Rows = slice | Ints  # of a batch


class Sequences:
    """Sequences of different lengths; a batch is padded when it is taken."""

    def __init__(
        self,
        rows: list[Any],
        lengths: list[int],
        name: str,
        steps: int,
        padding: float,
        step: Shape,
    ) -> None:
        self.rows, self.name, self.padding = rows, name, padding
        self.lengths = np.array(lengths, np.int64)
        number = int(self.lengths.argmax())
        longest = rows[number]
        if not lengths[number] and np.ndim(longest) < 2:  # it does not show the shape of a step
            longest = np.zeros((0, *step))
        one = self._padded([longest], max(lengths[number], steps)).data
        self.shape, self.dtype = one.shape[1:], one.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Rows) -> Masked:
        """A batch, padded to the longest sequence of all, or the steps that the model needs."""
        rows = np.arange(len(self))[rows]
        batch = [self.rows[row] for row in rows.tolist()]
        if self.lengths[rows].any():
            return self._padded(batch, self.shape[0])
        # All sequences are empty, so that `pad` could not know the shape of a step.
        data = np.full((len(batch), *self.shape), self.padding, self.dtype)
        return Masked(data, np.zeros((len(batch), self.shape[0]), np.bool_))

    def _padded(self, rows: list[Any], maxlen: int | None = None) -> Masked:
        try:
            return pad(rows, maxlen, value=self.padding)
        except (TypeError, ValueError) as error:
            find_fault(self.rows, self.name)
            dtypes = {np.asarray(row).dtype for row in self.rows}
            reason = f": {error}"
            if any(dtype.kind not in "fiub" for dtype in dtypes):
                reason = f", but they hold {', '.join(sorted(map(str, dtypes)))}"
            raise type(error)(f"{self.name} must hold sequences of numbers{reason}") from error


Source = Array | Masked | Ragged | Sequences


def source_of(
    value: Any,
    name: str,
    texts: bool = False,
    wanted: Taken | None = None,
    padding: float = 0.0,
) -> Source:
    """An array, a `Masked`, a `Ragged`, or `Sequences` for a list of different lengths.

    Args:
        value: what was given.
        name: the argument's name, for messages.
        texts: whether it may hold texts, which must not be taken for sequences of letters.
        wanted: what the model takes, if that is known.
        padding: what sequences are padded with.
    """
    one = wanted is not None and wanted.single and not wanted.free
    if isinstance(value, (Masked, Ragged)):
        if isinstance(value, Ragged) and wanted and wanted.texts and one:
            raise _lists_of_texts(name)
        if isinstance(value, Ragged) and wanted and wanted.sequences:
            return with_steps_of(wanted, value)
        return value
    if isinstance(value, np.ndarray) and not (value.dtype == object and value.ndim == 1):
        return as_array(value, name)
    if texts and holds_texts(value):
        if one and any(_is_list(row) and len(row) != 1 for row in value):
            raise _lists_of_texts(name)
        if wanted and wanted.sequences and len({len(row) for row in value if _is_list(row)}) > 1:
            return ragged(value)  # an empty text as padding may be a token like any other
        return text_array(value, name)
    if backend_of(value) is not HOST:
        device_array: Array = value
        return device_array
    if not isinstance(value, (list, tuple, np.ndarray)):
        array = as_array(value, name)
        if array.ndim == 0:
            raise ValueError(f"{name} must be an array or a list of sequences, not {shown(value)}")
        if array.dtype != object or array.ndim > 1 or holds_texts(array):
            return array
        arrow = any(hasattr(type(value), name) for name in ARROW)  # nulls become NaN in `array`
        value = ragged(value) if arrow else array  # a column of lists
    rows = list(value)
    if wanted and wanted.texts and rows:
        if wanted.sequences and all(_is_list(row) and not len(row) for row in rows):
            return with_steps_of(wanted, ragged(rows))
        raise TypeError(f"{name} must hold texts, not {shown(rows[0])}")
    if any(isinstance(row, Masked) for row in rows):
        raise TypeError(f"{name} must be one array, one Masked, or a list of plain sequences")
    try:
        lengths = [len(row) for row in rows]
    except TypeError:
        if any(row is None for row in rows):
            find_fault(rows, name)
        return as_array(value, name)
    sequences = wanted is not None and wanted.sequences
    steps = (wanted and wanted.steps) or int(sequences)  # one padded step if no row has any
    if len(set(lengths)) < 2 and not (rows and max(lengths) < steps):
        array = as_array(rows, name)
        if array.dtype == object:
            find_fault(rows, name)
        return array
    step = tuple(n or 1 for n in wanted.shape[2:]) if wanted else ()
    return Sequences(rows, lengths, name, steps, padding, step)


def with_steps_of(wanted: Taken, rows: Ragged) -> Ragged:
    """The rows; if they have no step at all, with the shape of a step that the model takes."""
    if len(rows.values):
        return rows
    dtype = np.dtype("U1") if wanted.texts else rows.dtype
    return Ragged(np.zeros((0, *(n or 1 for n in wanted.shape[2:])), dtype), rows.offsets)


def _lists_of_texts(name: str) -> ValueError:
    return ValueError(
        f"{name} holds lists of texts, but the model takes one text for each row: join them"
    )


def _is_list(row: object) -> bool:
    return isinstance(row, (list, tuple, np.ndarray))


def rows_of_batches(count: int, size: int, ragged: list[Sequences]) -> Iterator[Rows]:
    """The rows of each batch; the longest sequences come first."""
    starts = range(0, count, size) or range(1)
    if not ragged:
        yield from (slice(start, start + size) for start in starts)
        return
    lengths = np.sum([one.lengths for one in ragged], axis=0)
    order = np.argsort(-lengths, kind="stable")
    yield from (order[start : start + size] for start in starts)


def take(source: Source, rows: Rows) -> Array | Masked | Ragged:
    """Some rows of a source; neighboring rows of a `Ragged` are views."""
    if isinstance(source, Sequences):
        return source.take(rows)
    if isinstance(source, Ragged):
        return source[rows] if isinstance(rows, slice) else rows_at(source, rows)
    if isinstance(source, Masked):
        return Masked(source.data[rows], source.mask.valid[rows])
    return source[rows]
