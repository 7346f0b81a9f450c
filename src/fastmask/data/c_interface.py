"""Arrow's C data interface: columns that another library has in memory, read in place.

Source: https://arrow.apache.org/docs/format/CDataInterface.html, and "The Arrow PyCapsule
Interface" beside it, by which Python objects of any library hand such columns out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


_Schema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_void_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(_Schema))),
    ("dictionary", POINTER(_Schema)),
    ("release", CFUNCTYPE(None, POINTER(_Schema))),
    ("private_data", c_void_p),
]
_Array._fields_ = [
    *((name, c_int64) for name in "length null_count offset n_buffers n_children".split()),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(_Array))),
    ("dictionary", POINTER(_Array)),
    ("release", CFUNCTYPE(None, POINTER(_Array))),
    ("private_data", c_void_p),
]
_Stream._fields_ = [
    ("get_schema", CFUNCTYPE(c_int, POINTER(_Stream), POINTER(_Schema))),
    ("get_next", CFUNCTYPE(c_int, POINTER(_Stream), POINTER(_Array))),
    ("get_last_error", CFUNCTYPE(c_char_p, POINTER(_Stream))),
    ("release", CFUNCTYPE(None, POINTER(_Stream))),
    ("private_data", c_void_p),
]
_pointer_in = ctypes.PYFUNCTYPE(c_void_p, ctypes.py_object, c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class _Owned:
    """A structure that another library fills, and whose memory that library frees at the end."""

    def __init__(self, kind: type[ctypes.Structure]) -> None:
        self.value: Any = kind()

    def __del__(self) -> None:
        if self.value.release:
            self.value.release(ctypes.byref(self.value))


class _Memory:
    """Bytes of another library's, which NumPy keeps while it needs them."""

    def __init__(self, interface: dict[str, Any], owner: object) -> None:
        self.__array_interface__, self.owner = interface, owner


class Chunk(NamedTuple):
    """A part of a column, whose values begin at `offset` in its buffers."""

    format: str
    length: int
    offset: int
    nulls: int  # -1 if they have not been counted
    buffers: tuple[int, ...]  # addresses
    children: tuple[Chunk, ...]
    dictionary: Chunk | None
    extension: bool  # whether the type means more than its format says
    owner: object

    def memory(self, buffer: int, dtype: Any, start: int, stop: int) -> Array:
        """Some items of a buffer, in place."""
        known = np.dtype(dtype)
        address = self.buffers[buffer] if buffer < len(self.buffers) else 0
        if stop <= start or not address:
            return np.empty(0, known)
        place = (address + start * known.itemsize, True)  # read-only
        shape = {"shape": (stop - start,), "typestr": known.str, "data": place, "version": 3}
        return np.asarray(_Memory(shape, self.owner))

    def bits(self, buffer: int, start: int, stop: int) -> Array:
        """Some items of a buffer of bits, as bools."""
        packed = self.memory(buffer, np.uint8, start // 8, (stop + 7) // 8)
        return np.unpackbits(packed, bitorder="little")[start % 8 :][: stop - start].view(np.bool_)


def chunks_of(column: Any) -> list[Chunk]:
    """The chunks of a column, of which there is at least one.

    Args:
        column: an object with `__arrow_c_array__` or `__arrow_c_stream__`.

    Raises:
        ValueError: the library that has it cannot give it.
    """
    if hasattr(column, "__arrow_c_array__"):
        schema, array = column.__arrow_c_array__()
        return [
            _chunk(
                _Schema.from_address(_pointer_in(schema, b"arrow_schema")),
                _Array.from_address(_pointer_in(array, b"arrow_array")),
                array,
            )
        ]
    capsule = column.__arrow_c_stream__()
    stream = _Stream.from_address(_pointer_in(capsule, b"arrow_array_stream"))
    owned = _Owned(_Schema)
    _check(stream.get_schema(ctypes.byref(stream), ctypes.byref(owned.value)), stream)
    chunks = [_chunk(owned.value, one.value, one) for one in _arrays_in(stream)]
    return chunks or [_chunk(owned.value, _Array(), None)]


def _arrays_in(stream: _Stream) -> Iterator[_Owned]:
    while True:
        array = _Owned(_Array)
        _check(stream.get_next(ctypes.byref(stream), ctypes.byref(array.value)), stream)
        if not array.value.release:
            return
        yield array


def _check(status: int, stream: Any) -> None:
    if status:
        said = stream.get_last_error(ctypes.byref(stream)) or b"no reason is given"
        raise ValueError(f"x cannot be read: {said.decode('utf-8', 'replace')}")


def _chunk(schema: Any, array: Any, owner: object) -> Chunk:
    """A chunk and what is in it; of no rows where the array is empty."""
    inner = [array.children[i].contents for i in range(array.n_children)]
    inner = inner or [_Array() for _ in range(schema.n_children)]
    words = array.dictionary.contents if array.dictionary else _Array()
    return Chunk(
        schema.format.decode(),
        array.length,
        array.offset,
        array.null_count,
        tuple(array.buffers[i] or 0 for i in range(array.n_buffers)),
        tuple(_chunk(schema.children[i].contents, one, owner) for i, one in enumerate(inner)),
        _chunk(schema.dictionary.contents, words, owner) if schema.dictionary else None,
        bool(schema.metadata) and b"ARROW:extension:name" in _metadata(schema.metadata),
        owner,
    )


def _metadata(address: int) -> list[bytes]:
    """The keys of what goes with a type: their number, then each and its value, with lengths."""

    def number() -> int:
        nonlocal address
        address += 4
        return c_int.from_address(address - 4).value

    def text() -> bytes:
        nonlocal address
        size = number()
        address += size
        return ctypes.string_at(address - size, size)

    return [(text(), text())[0] for _ in range(number())]
