"""Files that may come from strangers: only regular ones are opened, and read in small pieces."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._checks import shown

MOST_AT_ONCE = 16 * 2**20  # bytes
_MOST_OF_A_REASON = 1000  # letters

# Opening must not block if a pipe has taken the file's place, nor make a terminal ours.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class Reader(io.BufferedReader):
    """A file for parsers that trust it: impossible positions or sizes are a ValueError."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self.size = os.fstat(raw.fileno()).st_size

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET and not 0 <= offset <= self.size:
            raise ValueError(f"it refers to byte {offset}, but has {self.size}")
        return super().seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = self.size - self.tell()
        if size > MOST_AT_ONCE:
            raise ValueError(f"a part of it that must be short has {size} bytes")
        return super().read(size)


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Open a file.

    Raises:
        ValueError: it is a pipe, device, socket or folder, or a link to one.
        OSError: it cannot be opened.
    """
    check_regular(os.stat(path), path)  # before anything is opened: that may wake a device
    with io.FileIO(path, opener=lambda name, flags: os.open(name, flags | _FLAGS)) as raw:
        check_regular(os.fstat(raw.fileno()), path)  # now nobody can put another in its place
        with Reader(raw) as file:
            yield file


@contextmanager
def opened_beside(path: Path, name: str) -> Iterator[Reader]:
    """Open a file in the folder of another one, which names it.

    Raises:
        ValueError: the name is not that of a regular file in that folder.
        OSError: it cannot be opened.
    """
    if not 0 < len(os.fsencode(name)) < 256 or name in (".", "..") or set(name) & set("/\\:\0"):
        raise ValueError(f"it names {shown(name)}, which must be a file in its own folder")
    beside = path.parent / name
    if beside.is_symlink():
        raise ValueError(f"it names {shown(name)}, which is a link")
    with opened(beside) as file:
        yield file


@contextmanager
def refusing(path: Path, what: str, most: int = _MOST_OF_A_REASON) -> Iterator[None]:
    """Turn any exception into a ValueError that says what the file is not, and why.

    No list of the exceptions that parsers raise on damaged files is complete. I/O errors stay.

    Args:
        path: the file.
        what: what it is not.
        most: maximum length of the reason.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = shortened(str(error) or type(error).__name__, most)
        raise ValueError(f"{path} {what}: {reason}") from error


def shortened(text: str, most: int) -> str:
    """The beginning of a text that may be long."""
    if len(text) <= most:
        return text
    return f"{text[:most].rpartition(' ')[0] or text[:most]} ..."


def may_be_torch(name: str) -> str:
    """For the end of a message: what to do with a file that PyTorch may have written; or ""."""
    if not name.lower().endswith((".ckpt", ".bin")):
        return ""
    return "; if it holds a state dict of PyTorch, rename it to .pt"


def check_regular(status: os.stat_result, path: Path) -> None:
    """Check that it is a regular file.

    Raises:
        ValueError: it is something else.
    """
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return
    kinds = {
        "a folder": stat.S_ISDIR(mode),
        "a pipe": stat.S_ISFIFO(mode),
        "a socket": stat.S_ISSOCK(mode),
        "a device": stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
    }
    kind = next((kind for kind, holds in kinds.items() if holds), "something else")
    raise ValueError(f"path must be a regular file, but {path} is {kind}")


def different_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, for `object_pairs_hook`, whose keys must differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"it says twice what one of these is: {', '.join(found)}")
    return found
