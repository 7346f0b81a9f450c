"""Bytes of a file, whose positions are checked before they are read."""

from __future__ import annotations

import io
import struct
from typing import IO, Any

_MOST_AT_ONCE = 16 * 2**20
_MOST_IN_ALL = 128 * 2**20
NOWHERE = 2**64 - 1  # stands for a missing address


class Bytes:
    """A part of a file, from `start` on, that has `size` bytes."""

    def __init__(self, file: IO[bytes], size: int, start: int = 0) -> None:
        self._file = file
        self._start = start
        self.size = size
        self._left = min(64 * size, _MOST_IN_ALL)  # what `at` reads; parts can refer to each other

    def at(self, address: int, length: int) -> bytes:
        """The bytes there.

        Raises:
            ValueError: there are fewer.
        """
        if length > _MOST_AT_ONCE:
            raise ValueError(f"a part of it that must be short has {length} bytes")
        self._left -= length
        if self._left < 0:
            raise ValueError("it refers to the same parts of itself again and again")
        self._seek(address, length)
        found = self._file.read(length)
        if len(found) != length:
            raise ValueError("it ends too early")
        return found

    def into(self, address: int, out: memoryview) -> None:
        """Fill `out` with the bytes there.

        Raises:
            ValueError: there are fewer.
        """
        self._seek(address, len(out))
        done = 0
        while done < len(out):
            count = self._file.readinto(out[done:])  # type: ignore[attr-defined]  # binary files
            if not count:
                raise ValueError("it ends too early")
            done += count

    def _seek(self, address: int, length: int) -> None:
        if address + length > self.size:
            raise ValueError(f"it refers to byte {address + length}, but has {self.size}")
        self._file.seek(self._start + address, io.SEEK_SET)


class Fields:
    """Numbers, one after the other, in some bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def take(self, form: str) -> Any:
        """The next ones, by the letters of `struct`; a single one is not in a tuple.

        Raises:
            ValueError: there are no more.
        """
        whole = "<" + form
        length = struct.calcsize(whole)
        found = struct.unpack(whole, self.piece(length))
        return found[0] if len(found) == 1 else found

    def piece(self, length: int) -> bytes:
        """The next bytes.

        Raises:
            ValueError: there are fewer.
        """
        end = self.place + length
        if end > len(self.content):
            raise ValueError("a part of it is shorter than it says")
        found = self.content[self.place : end]
        self.place = end
        return found

    def rest(self) -> bytes:
        """All the bytes that follow."""
        return self.content[self.place :]
