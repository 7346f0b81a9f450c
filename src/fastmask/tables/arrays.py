"""A .npz file: an array for each column, whose first axis goes over the rows.

Its rows cannot be read one after the other, so all of it is in memory.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._typing import Array
from ..loaders._reading import opened
from ..masks.ragged import Ragged
from .batch import Batch, Columns, OfFile
from .values import Values, plain_rows


class Arrays(OfFile):
    """A batch of rows of arrays."""

    def __init__(self, columns: dict[str, Array], first: int, share: float) -> None:
        super().__init__(first, share)
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def names(self) -> list[str]:
        return list(self.columns)

    def column(self, name: str) -> Array:
        return self.columns[name]

    def records(self) -> list[dict[str, Any]]:
        plain = {name: plain_rows(values) for name, values in self.columns.items()}
        return [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]


def batches(path: Path, rows: int) -> Iterator[Arrays]:
    """The rows in batches; a single empty batch if there are none."""
    columns = _columns(path)
    counts = {name: len(values) if values.ndim else None for name, values in columns.items()}
    if len(set(counts.values())) != 1 or None in counts.values():
        raise ValueError(f"{path} must have arrays with the same number of rows, not {counts}")
    count = next(iter(counts.values())) or 0
    for start in range(0, count, rows) or [0]:
        stop = min(start + rows, count)
        some = {name: values[start:stop] for name, values in columns.items()}
        yield Arrays(some, start, stop / count if count else 1.0)


def _columns(path: Path) -> dict[str, Array]:
    with opened(path) as file:
        try:
            found = np.load(file, allow_pickle=False)
            return dict(found)
        except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is not a .npz file that can be read: {error}") from error


class Writer:
    """Keeps the columns until all rows are there."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Values]] = {}

    def write(self, batch: Batch, more: Columns) -> None:
        own = {name: batch.column(name) for name in batch.names()}
        for name, values in {**own, **more}.items():
            self._parts.setdefault(name, []).append(values)

    def whole(self) -> dict[str, Array]:
        """The arrays of all columns."""
        return {name: _joined(name, parts) for name, parts in self._parts.items()}


@contextmanager
def writer(file: IO[bytes]) -> Iterator[Writer]:
    """A writer for an open file, which writes at the end of the context."""
    rows = Writer()
    yield rows
    np.savez(file, **rows.whole())  # type: ignore[arg-type]  # NumPy: bool


def _joined(name: str, parts: list[Values]) -> Array:
    try:
        return np.concatenate(
            [np.asarray(list(one) if isinstance(one, Ragged) else one) for one in parts]
        )
    except ValueError as error:
        raise ValueError(
            f"column {name!r} has rows of different lengths, which an array cannot hold: write "
            "them to a .jsonl or .parquet file"
        ) from error
