"""Some rows of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .._typing import Array

Values = Array | list[Any]  # one for each row
Columns = Mapping[str, Values]


class Batch(Protocol):
    """Rows that follow each other in a file."""

    first: int  # the number of the first one
    share: float  # of the file that has been read with them

    def __len__(self) -> int: ...

    def names(self) -> Sequence[str]:
        """The names of the columns."""

    def column(self, name: str) -> Values:
        """The values of a column that is there."""

    def records(self) -> list[dict[str, Any]]:
        """The rows, as plain Python objects."""


class Records:
    """A batch of rows that are dictionaries."""

    def __init__(self, rows: list[dict[str, Any]], first: int, share: float) -> None:
        self.rows, self.first, self.share = rows, first, share

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


def with_more(batch: Batch, more: Columns) -> list[dict[str, Any]]:
    """The rows of a batch with further columns, as plain Python objects."""
    plain = {name: as_plain(values) for name, values in more.items()}
    return [
        {**row, **{name: values[i] for name, values in plain.items()}}
        for i, row in enumerate(batch.records())
    ]


def as_plain(values: Values) -> list[Any]:
    """Numbers, and lists of them; those of float32 with as many digits as they have."""
    if isinstance(values, list):
        return [as_plain(one) if isinstance(one, np.ndarray) else one for one in values]
    if values.dtype == np.float32:
        values = values.astype(str).astype(np.float64)
    plain: list[Any] = values.tolist()
    return plain


def as_json(value: Any) -> str:
    """A value in JSON; what that has no form for, such as times, as text."""
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        raise ValueError("a column of bytes cannot be written as JSON")
    return str(value)
