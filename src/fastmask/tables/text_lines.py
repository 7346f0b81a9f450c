"""Text files: each line is a row with a column `text`; new values follow after a tab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from .batch import Batch, Columns, Empty, Records, as_json, with_more
from .lines import lines_of, writable

COLUMN = "text"


def batches(path: Path, rows: int) -> Iterator[Records]:
    """The rows in batches; a single empty batch if there are none."""
    first = 0
    with lines_of(path) as lines:
        while some := [line.rstrip("\r\n") for line in islice(lines, rows)]:
            yield Records([{COLUMN: line} for line in some], first, lines.share)
            first += len(some)
        if not first:
            yield Empty([COLUMN])


class Writer:
    """Writes a line for each row: its values, and tabs between them."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text

    def write(self, batch: Batch, more: Columns) -> None:
        for row in with_more(batch, more):
            words = [one if isinstance(one, str) else as_json(one) for one in row.values()]
            self._text.write("\t".join(words) + "\n")


@contextmanager
def writer(file: IO[bytes]) -> Iterator[Writer]:
    """A writer for an open file."""
    with writable(file) as text:
        yield Writer(text)
