"""The wire format of Protocol Buffers, as far as ONNX files need it.

The package onnx would have to be installed, and it parses a whole file into objects that take more
memory than the file. Here a message is a dictionary of views into the file: nothing is copied, a
length never goes beyond its message, and unwanted fields are never looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..._typing import Array

Message = Mapping[str, list[Any]]  # of each field all values: numbers, or views of bytes

_FIXED = {1: 8, 5: 4}  # wire types of numbers that have so many bytes
_VARINT, _BYTES = 0, 2
_MOST_BYTES = 10  # of a varint


def message(data: memoryview, fields: Mapping[int, str]) -> Message:
    """The wanted fields of a message.

    Raises:
        ValueError: it is not a message.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    for number, value in _fields(data):
        if number in fields:
            found[fields[number]].append(value)
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, position = _varint(data, position)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError(f"a field has the unknown wire type {kind}")
        if length > len(data) - position:
            raise ValueError("a field is longer than its message")
        yield key >> 3, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """A number of variable length, and the position after it."""
    value = 0
    for i, byte in enumerate(data[position : position + _MOST_BYTES]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, position + i + 1
    raise ValueError("a number does not end")


def integers(values: list[Any]) -> list[int]:
    """The signed numbers of a repeated field, packed or not."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            found.append(number)
    return [number - 2**64 if number >= 2**63 else number for number in found]


def fixed(values: list[Any], dtype: str) -> Array:
    """The numbers of a repeated field that have a fixed length, packed or not."""
    if not all(isinstance(value, memoryview) for value in values):
        raise ValueError("a field holds numbers of another kind")
    return np.frombuffer(b"".join(values), dtype)


def text(message: Message, name: str) -> str:
    """A field that is text; empty if there is none."""
    values = message.get(name) or [b""]
    return bytes(values[-1]).decode()
