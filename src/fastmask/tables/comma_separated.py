"""CSV, the names of the columns in its first line; lists are written in JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from .._checks import shown
from .batch import Batch, Columns, Empty, Records, as_json, with_more
from .lines import Lines, lines_of, writable

_LONGEST = 2**31 - 1  # characters of a cell; Python's own limit is less than a long sequence


def batches(path: Path, rows: int) -> Iterator[Records]:
    """The rows in batches; a single empty batch if there are none."""
    first = 0
    csv.field_size_limit(_LONGEST)
    with lines_of(path) as lines:
        cells = csv.reader(lines, strict=True)
        names = next(_checked(cells, lines, path), [])
        if not names or len(set(names)) < len(names):
            raise ValueError(f"{path} must begin with names of columns, not {shown(names)}")
        found = _rows(_checked(cells, lines, path), names, lines, path)
        while some := list(islice(found, rows)):
            yield Records(some, first, lines.share)
            first += len(some)
        if not first:
            yield Empty(names)


def _checked(cells: Iterator[list[str]], lines: Lines, path: Path) -> Iterator[list[str]]:
    """The cells of each row."""
    try:
        yield from cells
    except csv.Error as error:
        raise ValueError(f"{path}, line {lines.number}, is not CSV: {error}") from error


def _rows(
    cells: Iterator[list[str]], names: list[str], lines: Lines, path: Path
) -> Iterator[dict[str, Any]]:
    for row in cells:
        if not row and len(names) == 1:  # Python's reader finds no cells in a blank line
            row = [""]
        if not row:
            continue
        if len(row) != len(names):
            quote = ": a cell with commas must be in quotes" if len(row) > len(names) else ""
            raise ValueError(
                f"{path}, line {lines.number}, has {len(row)} cells, but line 1 has "
                f"{len(names)}{quote}"
            )
        yield dict(zip(names, row, strict=True))


class Writer:
    """Writes a line of cells for each row."""

    def __init__(self, text: IO[str]) -> None:
        self._cells = csv.writer(text, lineterminator="\n")
        self._names: list[str] = []

    def write(self, batch: Batch, more: Columns) -> None:
        if not self._names:
            self._names = [*batch.names(), *more]
            self._cells.writerow(self._names)
        for number, row in enumerate(with_more(batch, more), batch.first + 1):
            if not set(row) <= set(self._names):
                strange = ", ".join(set(row) - set(self._names))
                raise ValueError(f"row {number} has {strange}, which the first rows do not have")
            self._cells.writerow([_cell(row.get(name)) for name in self._names])


@contextmanager
def writer(file: IO[bytes]) -> Iterator[Writer]:
    """A writer for an open file."""
    with writable(file) as text:
        yield Writer(text)


def _cell(value: Any) -> Any:
    return as_json(value) if isinstance(value, (list, dict)) else value
