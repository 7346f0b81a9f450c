"""A `.keras` file: a zip of a description, the weights in an HDF5 file, and vocabularies."""

from __future__ import annotations

import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any

from ..._checks import shown
from .._json import parsed
from .._reading import Reader
from .._zips import archive_in, check_stored
from ..hdf5 import Hdf5

_CONFIG, _WEIGHTS, _ASSETS = "config.json", "model.weights.h5", "assets/"
_MOST_MEMBERS = 2**13
_MOST_TEXT = 64 * 2**20  # bytes of a vocabulary
_PIECE = 2**18


class Archive:
    """An open `.keras` file.

    Args:
        file: the file.

    Attributes:
        config: the description of the model.
        weights: its weights; None if there are none.

    Raises:
        ValueError: it is damaged, or its members are compressed or have dangerous names.
    """

    def __init__(self, file: Reader) -> None:
        self._file = file
        self._zip = archive_in(file)
        members = self._zip.infolist()
        if len(members) > _MOST_MEMBERS:
            raise ValueError(f"it has more than {_MOST_MEMBERS} members")
        check_stored(members, file.size, "which Keras does not do")
        for member in members:
            _check_name(member.filename)
        self._known = {member.filename: member for member in members}
        if _CONFIG not in self._known:
            raise ValueError(f"it has no {_CONFIG}, so it is not a model of Keras 3")
        self.config: Any = parsed(self._zip.read(_CONFIG))
        self.weights: Hdf5 | None = None
        if _WEIGHTS in self._known:
            member = self._known[_WEIGHTS]
            self._start = _start_of(file, member)
            self._check = _Sum(file, self._start, member.file_size)
            name = f"its member {_WEIGHTS}"
            self.weights = Hdf5(file, member.file_size, self._start, name)

    def lines(self, path: str) -> list[str] | None:
        """The lines of a text among the assets; None if there is none."""
        member = self._known.get(f"{_ASSETS}{path}")
        if member is None:
            return None
        if member.file_size > _MOST_TEXT:
            raise ValueError(f"{path!r} among its assets has {member.file_size} bytes")
        with self._zip.open(member) as stream:
            pieces = iter(lambda: stream.read(_PIECE), b"")
            return b"".join(pieces).decode().splitlines()

    def finish(self) -> None:
        """Check that the weights were read as they were written.

        Raises:
            ValueError: their checksum differs.
        """
        if self.weights is not None and self._check.value() != self._known[_WEIGHTS].CRC:
            raise ValueError(f"its member {_WEIGHTS} is damaged: its checksum is wrong")


class _Sum(Thread):
    """Computes the checksum of a part of a file, beside other work if the system can do that."""

    def __init__(self, file: Reader, start: int, length: int) -> None:
        super().__init__(daemon=True)
        self._part = file, start, length
        self._value: int | None = None
        self._descriptor = -1
        # While the interpreter exits, a new thread would not run, and `start` would never return.
        if sys.platform != "win32" and length > _PIECE and not sys.is_finalizing():
            self._descriptor = os.dup(file.fileno())  # others may close theirs before
            self.start()

    def run(self) -> None:
        _, start, length = self._part
        with suppress(OSError):
            self._value = _sum(partial(os.pread, self._descriptor), start, length)
        os.close(self._descriptor)

    def value(self) -> int | None:
        """The checksum; None if the file ended before."""
        if self._descriptor >= 0:
            self.join()
            return self._value
        file, start, length = self._part

        def read(count: int, place: int) -> bytes:
            file.seek(place)
            return file.read(count)

        return _sum(read, start, length)


def _sum(read: Callable[[int, int], bytes], start: int, length: int) -> int | None:
    value, place = 0, start
    while place < start + length:
        piece = read(min(_PIECE, start + length - place), place)
        if not piece:
            return None
        value = zlib.crc32(piece, value)
        place += len(piece)
    return value


def _check_name(name: str) -> None:
    parts = name.split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\\" in name or ":" in parts[0]:
        raise ValueError(f"its member {shown(name)} has a name that leads out of it")


def _start_of(file: Reader, member: zipfile.ZipInfo) -> int:
    """Where the content of a member begins, which its own header says."""
    file.seek(member.header_offset)
    header = file.read(30)
    if len(header) != 30 or header[:4] != b"PK\3\4":
        raise ValueError(f"its member {member.filename!r} has no header")
    name, extra = struct.unpack("<HH", header[26:])
    start = member.header_offset + 30 + int(name) + int(extra)
    if start + member.file_size > file.size:
        raise ValueError(f"its member {member.filename!r} claims to be longer than the file")
    return start
