"""JSON Lines: an object in each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from .batch import Batch, Columns, Records, as_json, with_more
from .lines import Lines, lines_of, writable


def batches(path: Path, rows: int) -> Iterator[Records]:
    """The rows in batches."""
    first = 0
    with lines_of(path) as lines:
        found = _objects(lines, path)
        while some := list(islice(found, rows)):
            yield Records(some, first, lines.share)
            first += len(some)


def _objects(lines: Lines, path: Path) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.isspace():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {lines.number}, is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(
                f"{path}, line {lines.number}, must be an object, not {line.strip():.80}"
            )
        yield found


class Writer:
    """Writes an object in each line."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text

    def write(self, batch: Batch, more: Columns) -> None:
        for row in with_more(batch, more):
            self._text.write(as_json(row) + "\n")


@contextmanager
def writer(file: IO[bytes]) -> Iterator[Writer]:
    """A writer for an open file."""
    with writable(file) as text:
        yield Writer(text)
