"""Some rows of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .values import Values, plain_rows

Columns = Mapping[str, Values]


class Rows(Protocol):
    """Rows with columns."""

    def __len__(self) -> int: ...

    def names(self) -> Sequence[str]:
        """The names of the columns."""

    def column(self, name: str) -> Values:
        """The values of a column that is there."""

    def where(self, column: str, row: int) -> str:
        """How messages name a value."""


class Batch(Rows, Protocol):
    """Rows that follow each other in a file."""

    first: int  # the number of the first one
    share: float  # share of the file that has been read so far

    def records(self) -> list[dict[str, Any]]:
        """The rows, as plain Python objects."""


class OfFile:
    """A batch that knows its position in a file."""

    def __init__(self, first: int, share: float) -> None:
        self.first, self.share = first, share

    def where(self, column: str, row: int) -> str:
        return f"row {self.first + row + 1} of column {column!r}"


class Records(OfFile):
    """A batch of rows that are dictionaries."""

    def __init__(self, rows: list[dict[str, Any]], first: int, share: float) -> None:
        super().__init__(first, share)
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def names(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def column(self, name: str) -> list[Any]:
        for number, row in enumerate(self.rows, self.first + 1):
            if name not in row:
                raise ValueError(f"row {number} has no {name!r}")
        return [row[name] for row in self.rows]

    def records(self) -> list[dict[str, Any]]:
        return self.rows


class Empty(Records):
    """No rows, of known columns."""

    def __init__(self, names: list[str]) -> None:
        super().__init__([], 0, 1.0)
        self._names = names

    def names(self) -> list[str]:
        return self._names

    def column(self, name: str) -> list[Any]:  # noqa: ARG002 - that of a batch with rows
        return []


def with_more(batch: Batch, more: Columns) -> list[dict[str, Any]]:
    """The rows of a batch with further columns, as plain Python objects."""
    plain = {name: plain_rows(values) for name, values in more.items()}
    return [
        {**row, **{name: values[i] for name, values in plain.items()}}
        for i, row in enumerate(batch.records())
    ]


def as_json(value: Any) -> str:
    """A value in JSON; types that JSON does not have, such as times, become text."""
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        raise ValueError("a column of bytes cannot be written as JSON")
    return str(value)
