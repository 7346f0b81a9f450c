"""The messages in the header of an object in an HDF5 file.

Source:
    HDF5 File Format Specification, version 3.0, sections III and IV.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ._bytes import NOWHERE, Bytes, Fields

DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT = 1, 2, 3, 6, 7, 8
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE, ATTRIBUTE_INFO = 11, 12, 16, 17, 21
_MOST_MESSAGES = 2**16
_MOST_AXES = 8
_NEWER = "is in a form that h5py writes with libver='latest', which is not supported"

Messages = list[tuple[int, bytes]]


class Text(NamedTuple):
    """The type of attributes that are text: of fixed length, or None for any."""

    length: int | None


def messages(file: Bytes, address: int) -> Messages:
    """Kinds and contents of the messages in the header at `address`.

    Raises:
        ValueError: there is no header of the kind that Keras's files have.
    """
    first = file.at(address, 16)
    if first[:4] == b"OHDR":
        raise ValueError(_NEWER)
    version, _, count, _, length = Fields(first).take("BBHII")
    if version != 1 or count > _MOST_MESSAGES:
        raise ValueError("has no header")
    blocks, found, seen = [(address + 16, length)], Messages(), 0
    while blocks and seen < count:
        fields = Fields(file.at(*blocks.pop(0)))
        while len(fields.content) - fields.place >= 8 and seen < count:
            kind, size, flags = fields.take("HHBxxx")
            content = fields.piece(size)
            seen += 1
            if flags & 2 and kind in (DATASPACE, DATATYPE, LAYOUT, FILTERS, ATTRIBUTE):
                raise ValueError("shares parts of its header, which is not supported")
            if kind == CONTINUATION:
                blocks.append(Fields(content).take("QQ"))
            else:
                found.append((kind, content))
    return found


def shape(content: bytes) -> tuple[int, ...] | None:
    """The shape in a message of kind DATASPACE; None if there is nothing at all.

    Raises:
        ValueError: it is damaged.
    """
    fields = Fields(content)
    version, rank, _, kind = fields.take("BBBB")
    if version not in (1, 2) or rank > _MOST_AXES:
        raise ValueError(f"must have a shape of at most {_MOST_AXES} axes")
    if version == 2 and kind == 2:
        return None
    fields.piece(4 if version == 1 else 0)
    return tuple(fields.take("Q") for _ in range(rank))


def number_type(content: bytes) -> np.dtype[Any]:
    """The dtype in a message of kind DATATYPE; V2 for two bytes of unknown meaning.

    Raises:
        ValueError: it is not one of numbers.
    """
    fields = Fields(content)
    first, bits, more, _, size = fields.take("BBBBI")
    kind = first & 15
    order = ">" if bits & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8) and fields.take("HH") == (0, 8 * size):
        return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}")
    if kind == 1 and size in (2, 4, 8) and not bits & 64:
        exponent = {2: 5, 4: 8, 8: 11}[size]
        mantissa = 8 * size - 1 - exponent
        usual = (0, 8 * size, mantissa, exponent, 0, mantissa, 2 ** (exponent - 1) - 1)
        if fields.take("HHBBBBI") == usual and more == 8 * size - 1:
            return np.dtype(f"{order}f{size}")
    if kind == 5 and size == 2:
        return np.dtype("V2")
    if kind == 8 and size == 1 and b"FALSE\0" in content and b"TRUE\0" in content:
        return np.dtype(bool)
    raise ValueError("must hold numbers")


def text_type(content: bytes) -> Text | None:
    """The type in a message of kind DATATYPE, if it is text."""
    first, bits, size = Fields(content).take("BBxxI")
    if first & 15 == 3:
        return Text(size)
    return Text(None) if first & 15 == 9 and bits & 15 == 1 else None


def storage(found: Messages, length: int) -> int | bytes:
    """Where the data of an array of `length` bytes is: its address, or the data itself.

    Raises:
        ValueError: it is elsewhere, or in another form.
    """
    kinds = [kind for kind, _ in found]
    if EXTERNAL in kinds:
        raise ValueError("has its data in another file, which is not opened")
    if FILTERS in kinds:
        raise ValueError("is compressed or filtered; `h5repack -f NONE -l CONTI` undoes that")
    fields = Fields(single(found, LAYOUT))
    version, kind = fields.take("BB")
    if version not in (3, 4):
        raise ValueError("is laid out in a way that Keras does not write")
    if kind == 3:
        raise ValueError("is put together from other arrays, which is not supported")
    if kind == 2:
        raise ValueError("is stored in pieces; `h5repack -l CONTI` undoes that")
    if kind == 0:
        content = fields.piece(fields.take("H"))
        if len(content) < length:
            raise ValueError(f"claims to have {length} bytes, which are not in the file")
        return content[:length]
    address, size = fields.take("QQ")
    if length and (kind != 1 or size < length or address == NOWHERE):
        raise ValueError(f"claims to have {length} bytes, which are not in the file")
    return int(address)


def single(found: Messages, kind: int) -> bytes:
    """The content of the only message of a kind.

    Raises:
        ValueError: there is none, or there are several.
    """
    contents = [content for one, content in found if one == kind]
    if len(contents) != 1:
        raise ValueError("must have a shape, a type and data")
    return contents[0]


def attributes(found: Messages) -> Iterator[tuple[str, bytes, bytes, bytes]]:
    """Name, type, shape and data of each attribute."""
    for kind, content in found:
        if kind == ATTRIBUTE_INFO:
            _, flags = (fields := Fields(content)).take("BB")
            fields.piece(2 * (flags & 1))
            if fields.take("Q") != NOWHERE:
                raise ValueError(_NEWER)
        if kind != ATTRIBUTE:
            continue
        fields = Fields(content)
        version, _, *sizes = fields.take("BBHHH")
        if version not in (1, 2, 3):
            raise ValueError("has an attribute that is damaged")
        fields.piece(version == 3)
        parts = []
        for size in sizes:
            parts.append(fields.piece(size))
            fields.piece(-size % 8 if version == 1 else 0)
        yield parts[0].split(b"\0")[0].decode(), parts[1], parts[2], fields.rest()


def text_values(
    file: Bytes, kind: Text, sizes: tuple[int, ...], data: bytes, most: int
) -> list[str]:
    """The texts of an attribute.

    Raises:
        ValueError: there are more than `most`, or they are damaged.
    """
    count = math.prod(sizes)
    if count > most:
        raise ValueError(f"has more than {most} texts")
    fields = Fields(data)
    if kind.length is not None:
        raw = [fields.piece(kind.length) for _ in range(count)]
        return [one.split(b"\0")[0].decode() for one in raw]
    places = [fields.take("IQI") for _ in range(count)]
    heaps: dict[int, dict[int, bytes]] = {}
    return [
        _from_heap(file, heaps, address, number)[:length].decode() if length else ""
        for length, address, number in places
    ]


def _from_heap(file: Bytes, heaps: dict[int, dict[int, bytes]], address: int, number: int) -> bytes:
    """An object in a global heap; `heaps` keeps those that have been read."""
    if address not in heaps:
        start = Fields(file.at(address, 16))
        if start.piece(4) != b"GCOL":
            raise ValueError("refers to a text that is not there")
        fields = Fields(file.at(address, start.take("xxxxQ")))
        fields.piece(16)
        objects = heaps[address] = {}
        while len(fields.content) - fields.place >= 16:
            index, size = fields.take("HHIQ")[::3]
            if index == 0:
                break
            objects[index] = fields.piece(size)
            fields.piece(min(-size % 8, len(fields.content) - fields.place))
    if number not in heaps[address]:
        raise ValueError("refers to a text that is not there")
    return heaps[address][number]
