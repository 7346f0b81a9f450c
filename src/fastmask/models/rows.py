"""The rows given to `predict`, and how they are divided into batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._typing import Array, Ints
from ..backends.dispatch import as_array, backend_of
from ..backends.host import HOST
from ..layers._text import holds_texts, text_array
from ..masks.masked import Masked
from ..masks.padding import pad
from ..masks.ragged import Ragged, rows_at

Rows = slice | Ints  # of a batch


class Sequences:
    """Sequences of different lengths; a batch is padded when it is taken."""

    def __init__(self, rows: list[Any], lengths: list[int], name: str) -> None:
        self.rows, self.name = rows, name
        self.lengths = np.array(lengths, np.int64)
        longest = self._padded([rows[int(self.lengths.argmax())]]).data
        self.shape, self.dtype = longest.shape[1:], longest.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Rows) -> Masked:
        """A batch, padded to the longest sequence of all."""
        rows = np.arange(len(self))[rows]
        batch = [self.rows[row] for row in rows.tolist()]
        if self.lengths[rows].any():
            return self._padded(batch, self.shape[0])
        # All sequences are empty, so that `pad` could not know the shape of a step.
        data = np.zeros((len(batch), *self.shape), self.dtype)
        return Masked(data, np.zeros((len(batch), self.shape[0]), np.bool_))

    def _padded(self, rows: list[Any], maxlen: int | None = None) -> Masked:
        try:
            return pad(rows, maxlen)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.name} must hold sequences of numbers: {error}") from error


Source = Array | Masked | Ragged | Sequences


def source_of(value: Any, name: str, texts: bool = False) -> Source:
    """An array, a `Masked`, a `Ragged`, or `Sequences` for a list of different lengths.

    Args:
        value: what was given.
        name: the argument's name, for messages.
        texts: whether it may hold texts, which must not be taken for sequences of letters.
    """
    if isinstance(value, (Masked, Ragged)):
        return value
    if isinstance(value, np.ndarray) and not (value.dtype == object and value.ndim == 1):
        return as_array(value, name)
    if texts and holds_texts(value):
        return text_array(value, name)
    rows = list(value) if isinstance(value, (list, tuple, np.ndarray)) else None
    if backend_of(value) is not HOST:
        device_array: Array = value
        return device_array
    if rows is None:
        array = as_array(value, name)
        if array.ndim == 0:
            raise ValueError(f"{name} must be an array or a list of sequences, not {value!r:.80}")
        return array
    if any(isinstance(row, Masked) for row in rows):
        raise TypeError(f"{name} must be one array, one Masked, or a list of plain sequences")
    try:
        lengths = [len(row) for row in rows]
    except TypeError:
        return as_array(value, name)
    if len(set(lengths)) < 2:
        return as_array(rows, name)
    return Sequences(rows, lengths, name)


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
    """Some rows of a source; neighbouring rows of a `Ragged` are views."""
    if isinstance(source, Sequences):
        return source.take(rows)
    if isinstance(source, Ragged):
        return source[rows] if isinstance(rows, slice) else rows_at(source, rows)
    if isinstance(source, Masked):
        return Masked(source.data[rows], source.mask.valid[rows])
    return source[rows]
