"""What file readers find: arrays that are read later, grouped into modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import IO, NamedTuple

import numpy as np

from ..._checks import shown
from ..._typing import Array
from .._npy import fill

# Names of dtypes as safetensors has them; bfloat16 is the upper half of a float32.
DTYPES = dict(
    zip(
        "F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL".split(),
        "<f8 <f4 <f2 <u2 <i8 <i4 <i2 <i1 <u8 <u4 <u2 <u1 <u1".split(),
        strict=True,
    )
)


class Stored(NamedTuple):
    """An array in a file."""

    shape: tuple[int, ...]
    read: Callable[[], Array]


class Module(NamedTuple):
    """The weights of one layer, or of one direction of it, by torch's names for them."""

    name: str
    parts: Mapping[str, Stored]
    backwards: bool = False
    options: Mapping[str, object] = MappingProxyType({})  # attributes that the layer must have


class Misfit(Exception):
    """The file is sound, but its weights do not fit the model."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def number_of_bytes(shape: tuple[int, ...], dtype: str) -> int:
    """The size of an array.

    Raises:
        ValueError: the dtype is unknown.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
    return math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize


def sizes(value: object, name: str) -> tuple[int, ...]:
    """A shape from a file.

    Raises:
        ValueError: it is not a shape.
    """
    if not isinstance(value, (list, tuple)) or len(value) > 32:
        raise ValueError(f"the shape of {shown(name)} must be a list of sizes, not {shown(value)}")
    if not all(type(n) is int and n >= 0 for n in value):
        raise ValueError(
            f"the shape of {shown(name)} must have sizes of at least 0, not {shown(value)}"
        )
    return tuple(value)


def read_numbers(stream: IO[bytes], count: int, dtype: str, name: str) -> Array:
    """The next numbers of a file that is known to be long enough, as one axis."""
    raw = np.empty(count * np.dtype(DTYPES[dtype]).itemsize, np.uint8)
    fill(raw, stream, name)
    return as_numbers(raw, dtype)


def with_known_floats(array: Array) -> Array:
    """An array of an HDF5 file; bfloat16, which NumPy does not know, as float32."""
    return as_numbers(array.view(np.uint8), "BF16") if array.dtype == np.dtype("V2") else array


def as_numbers(raw: Array, dtype: str) -> Array:
    """Bytes as numbers; bfloat16 as float32."""
    numbers = raw.view(DTYPES[dtype])
    if dtype == "BF16":
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers
