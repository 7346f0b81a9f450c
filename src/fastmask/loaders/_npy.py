"""Arrays in a zip of .npy files, read without trusting their headers."""

from __future__ import annotations

import math
import re
import zipfile
from typing import IO, Any

import numpy as np

from .._typing import Array

_PIECE = 2**20  # bytes that are read at once
_MAGIC = b"\x93NUMPY\x01\x00"  # version 1.0

# What `numpy.save` writes. NumPy's own reader evaluates it as an expression.
_HEADER = re.compile(
    r"\{'descr': '([^']{1,16})', 'fortran_order': False, 'shape': (\([0-9, ]*\)), \} *\n"
)


def read_array(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...] | None, dtype: np.dtype[Any]
) -> Array:
    """The array in a member, which must have `dtype` and `shape` (None: one axis).

    Raises:
        ValueError: the member is something else, or is damaged.
        Exception: of any kind, by `zipfile`, on damaged archives.
    """
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        descr, stored_shape, length = read_header(stream, name)
        size = member.file_size - length
        if shape is None:
            shape = (size // dtype.itemsize,)
        if stored_shape != str(shape):
            raise ValueError(f"{name} must have shape {shape}, not {stored_shape}")
        stored = dtype.newbyteorder("<")
        if descr != stored.str:
            raise ValueError(f"{name} must have dtype {dtype}, not {descr}")
        if size != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name} must have {shape} numbers, but its data has another length")
        value = np.empty(shape, stored)
        fill(value.reshape(-1).view(np.uint8), stream, name)
    return value


def read_header(stream: IO[bytes], name: str) -> tuple[str, str, int]:
    """Dtype and shape in the header of a .npy file, and the header's length."""
    if stream.read(8) != _MAGIC:
        raise ValueError(f"{name} is not in version 1.0 of the .npy format")
    length = int.from_bytes(stream.read(2), "little")
    found = _HEADER.fullmatch(stream.read(length).decode("latin1"))
    if found is None:
        raise ValueError(f"{name} does not begin as numpy.save writes arrays, rows first")
    return found[1], found[2], 10 + length


def fill(raw: Array, stream: IO[bytes], name: str) -> None:
    """Read bytes until all of `raw` is filled."""
    for start in range(0, len(raw), _PIECE):
        piece = raw[start : start + _PIECE]
        content = stream.read(len(piece))
        if len(content) != len(piece):
            raise ValueError(f"the data of {name} ends too early")
        piece[:] = np.frombuffer(content, np.uint8)
