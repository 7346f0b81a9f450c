"""Text files, a line at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..loaders._reading import opened


class Lines:
    """The lines of an open file, which are UTF-8."""

    def __init__(self, file: IO[bytes], size: int, path: Path) -> None:
        self._file, self._size, self._path = file, size, path
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        self.number += 1
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self._path}, line {self.number}, is not UTF-8: {error}") from error

    @property
    def share(self) -> float:
        """The part of the file that has been read."""
        return self._file.tell() / self._size if self._size else 1.0


@contextmanager
def lines_of(path: Path) -> Iterator[Lines]:
    """Open a text file."""
    with opened(path) as file:
        yield Lines(file, file.size, path)


@contextmanager
def writable(file: IO[bytes]) -> Iterator[IO[str]]:
    """An open file as a text file within the context; it stays open."""
    text = io.TextIOWrapper(file, "utf-8", newline="")
    try:
        yield text
        text.flush()
    finally:
        text.detach()
