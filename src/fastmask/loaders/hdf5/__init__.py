"""HDF5 files, read without trusting what they say.

The HDF5 library follows links into other files, and on damaged ones it can wait forever. So this
module reads what Keras writes, without the library: groups, arrays of numbers stored in one piece
as they are, and attributes that are text. All else is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np

from ..._typing import Array
from .._zips import HDF5, ZIP
from . import _messages
from ._bytes import Bytes, Fields
from ._groups import is_group, members
from ._messages import DATASPACE, DATATYPE, Messages

_MOST_TEXTS = 2**16  # in an attribute
_MOST_BYTES = 2**62  # of an array


class ArrayInfo(NamedTuple):
    """What a file says about an array, checked against the file's size."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class _Item(NamedTuple):
    """A group or an array."""

    found: Messages
    members: dict[str, int | None] | None  # None for an array


class Hdf5:
    """An HDF5 file; "" is its outermost group, "a/b" the path of a group or array.

    Args:
        file: the file, open in binary mode.
        size: how many bytes of it are to be read.
        start: where they begin.
        name: what messages call it.

    Raises:
        ValueError: it is not an HDF5 file of the form that Keras's files have.
    """

    def __init__(self, file: IO[bytes], size: int, start: int = 0, name: str = "it") -> None:
        self._name = name
        self._bytes = Bytes(file, size, start)
        self._left = size  # bytes that arrays not read so far can have together
        self._read: set[str] = set()
        self._items: dict[str, _Item] = {}
        with _told(name):
            self._items[""] = self._item(self._root(size))

    def __contains__(self, path: str) -> bool:
        return self._find(path) is not None

    def members(self, path: str) -> list[str]:
        """The names in a group, in alphabetical order; none if there is no group."""
        item = self._find(path)
        return sorted(item.members) if item and item.members else []

    def is_array(self, path: str) -> bool:
        """Whether there is an array at a path, even one that cannot be read."""
        item = self._find(path)
        return item is not None and item.members is None

    def info(self, path: str) -> ArrayInfo:
        """Shape and dtype of an array.

        Raises:
            ValueError: there is none, or its numbers are not stored in the file.
        """
        return self._located(path)[0]

    def array(self, path: str, out: Array | None = None) -> Array:
        """An array.

        Args:
            path: its path.
            out: array of the same shape and any dtype to read it into.

        Raises:
            ValueError: see `info`; or `out` has another shape, or the file would hold more
                bytes in its arrays than it has.
        """
        (shape, dtype), place = self._located(path)
        if out is not None and out.shape != shape:
            raise ValueError(f"array {path!r} must have shape {out.shape}, not {shape}")
        length = math.prod(shape) * dtype.itemsize
        if path not in self._read:
            self._read.add(path)
            self._left -= length
            if self._left < 0:
                raise ValueError(f"its arrays, {path!r} among them, claim to be longer than it is")
        direct = out is not None and out.dtype == dtype and out.flags.c_contiguous
        value = out if out is not None and direct else np.empty(shape, dtype)
        if length:
            content: Any = value.reshape(-1).view(np.uint8)
            raw = memoryview(content)
            with _told(self._called(path)):
                if isinstance(place, bytes):
                    raw[:] = place
                else:
                    self._bytes.into(place, raw)
        if out is not None and not direct:
            out[...] = value
        return value if out is None else out

    def text(self, path: str, name: str) -> str | None:
        """An attribute that is one text; None if there is none.

        Raises:
            ValueError: it is something else.
        """
        found = self._texts(path, name)
        if found is not None and len(found) != 1:
            raise ValueError(f"attribute {name!r} of {path or '/'!r} must be one text")
        return None if found is None else found[0]

    def texts(self, path: str, name: str) -> list[str] | None:
        """An attribute that is a list of texts, or parts of one (name0, name1, ...); else None.

        Raises:
            ValueError: it is something else.
        """
        found = self._texts(path, name)
        if found is not None:
            return found
        parts: list[str] = []
        for number in range(_MOST_TEXTS):
            part = self._texts(path, f"{name}{number}")
            if part is None:
                return parts if number else None
            parts += part
        raise ValueError(f"attribute {name!r} of {path!r} has more than {_MOST_TEXTS} parts")

    def _called(self, path: str) -> str:
        return repr(path) if path else self._name

    def _root(self, size: int) -> int:
        """The address of the root group, which is in the first block of the file."""
        if size < 96 or self._bytes.at(0, 8) != HDF5:
            zipped = size >= len(ZIP) and self._bytes.at(0, len(ZIP)) == ZIP
            raise ValueError(
                "is a zip file: if it is a model of Keras 3, name it .keras"
                if zipped
                else "is not an HDF5 file"
            )
        fields = Fields(self._bytes.at(8, 88))
        version, of_offsets, of_lengths = fields.take("B4xBB")
        if version not in (0, 1):
            raise ValueError("is written with libver='latest', which is not supported")
        fields.piece(9 + 4 * version)
        base, end, address = fields.take("Q8xQ8x8xQ")
        if (of_offsets, of_lengths, base) != (8, 8, 0):
            raise ValueError("is not of the form that Keras writes")
        if end > size:
            raise ValueError(f"is truncated: it must have {end} bytes, not {size}")
        return int(address)

    def _item(self, address: int) -> _Item:
        found = _messages.messages(self._bytes, address)
        return _Item(found, members(self._bytes, found) if is_group(found) else None)

    def _find(self, path: str) -> _Item | None:
        """The item at a path, or None."""
        item, known = self._items[""], ""
        for name in path.split("/") if path else ():
            if item.members is None or name not in item.members:
                return None
            known = f"{known}/{name}" if known else name
            if known not in self._items:
                address = item.members[name]
                with _told(self._called(known)):
                    if address is None:
                        raise ValueError("is a link, which is not followed")
                    self._items[known] = self._item(address)
            item = self._items[known]
        return item

    def _located(self, path: str) -> tuple[ArrayInfo, int | bytes]:
        """What the file says about an array, and the address of its data, or the data itself."""
        item = self._find(path)
        if item is None or item.members is not None:
            raise ValueError(f"there is no array {path!r}")
        with _told(self._called(path)):
            shape = _messages.shape(_messages.single(item.found, DATASPACE))
            if shape is None:
                raise ValueError("must have a shape")
            dtype = _messages.number_type(_messages.single(item.found, DATATYPE))
            length = math.prod(shape) * dtype.itemsize
            if max((length, *shape)) > _MOST_BYTES:
                raise ValueError(f"claims to have shape {shape}, which is not in the file")
            place = _messages.storage(item.found, length)
            if length and isinstance(place, int) and place + length > self._bytes.size:
                raise ValueError(f"claims to have {length} bytes, which are not in the file")
        return ArrayInfo(shape, dtype), place

    def _texts(self, path: str, name: str) -> list[str] | None:
        item = self._find(path)
        if item is None:
            return None
        with _told(f"{self._called(path)}, attribute {name!r},"):
            for key, kind, shape, data in _messages.attributes(item.found):
                if key == name:
                    sizes, text = _messages.shape(shape), _messages.text_type(kind)
                    if sizes is not None and math.prod(sizes) == 0:
                        return []  # h5py writes an empty list as floats
                    if sizes is None or text is None:
                        raise ValueError("must be text, or a list of texts")
                    return _messages.text_values(self._bytes, text, sizes, data, _MOST_TEXTS)
        return None


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Put what they are about in front of error messages."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what} {error!s:.500}") from error
