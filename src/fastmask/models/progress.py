"""Progress of long computations, shown in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_LONG = 1.0  # seconds, before anything is shown


def progress(items: Iterable[_Item], count: int | None) -> Iterator[_Item]:
    """Yield the items; if they take long, count them on the terminal in a bar or a line."""
    start, bar = time.monotonic(), None
    try:
        for done, item in enumerate(items):
            if bar is None and sys.stderr.isatty() and time.monotonic() - start > _LONG:
                bar = _bar(done, count)
            yield item
            if bar is not None:
                bar.update(1)
    finally:
        if bar is not None:
            bar.close()


def _bar(done: int, count: int | None) -> Any:
    try:
        tqdm = import_module("tqdm")
    except ImportError:
        return _Line(done, count)
    return tqdm.tqdm(total=count, initial=done, unit="batch")


class _Line:
    """A minimal stand-in for a bar of `tqdm`."""

    def __init__(self, done: int, count: int | None) -> None:
        self.done, self.count = done, count
        self.update(0)

    def update(self, more: int) -> None:
        self.done += more
        of_all = "" if self.count is None else f" of {self.count}"
        sys.stderr.write(f"\rbatch {self.done}{of_all}")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n")
