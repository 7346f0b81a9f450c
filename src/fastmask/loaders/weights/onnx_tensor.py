"""The arrays of an ONNX file, read later; field numbers are those of onnx.proto."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..._checks import shown
from ..._typing import Array
from .._npy import fill
from .._reading import opened_beside
from .protobuf import Message, fixed, integers, message, text
from .stored import DTYPES, Stored, as_numbers, number_of_bytes, sizes

_TENSOR = {
    1: "dims",
    2: "data_type",
    4: "float_data",
    5: "int32_data",
    7: "int64_data",
    8: "name",
    9: "raw_data",
    10: "double_data",
    13: "external_data",
    14: "data_location",
}
_ENTRY = {1: "key", 2: "value"}
_FIXED = {"F32": "float_data", "F64": "double_data"}
KINDS = {1: "F32", 6: "I32", 7: "I64", 10: "F16", 11: "F64", 16: "BF16"}  # TensorProto.DataType


class Tensor:
    """A tensor of a file.

    Args:
        data: its message.
        name: its name, if the message has none.

    Attributes:
        name: its name.
        kind: the dtype of its numbers, or None if this is none of `KINDS`.
    """

    def __init__(self, data: memoryview, name: str = "") -> None:
        self._message = message(data, _TENSOR)
        self.name = name or text(self._message, "name")
        self.kind = KINDS.get((integers(self._message.get("data_type", [])) or [0])[-1])

    def shape(self) -> tuple[int, ...]:
        """Its shape, which need not be that of its data."""
        return sizes(integers(self._message.get("dims", [])), self.name)

    def stored(self, path: Path) -> Stored:
        """Its array; the size is checked.

        Args:
            path: the file, whose folder has the files that hold its larger arrays.
        """
        assert self.kind is not None
        shape, kind = self.shape(), self.kind
        if (integers(self._message.get("data_location", [])) or [0])[-1]:
            return Stored(shape, partial(_elsewhere, self._message, shape, kind, self.name, path))
        raw = _inside(self._message, kind)
        if len(raw) != number_of_bytes(shape, kind):
            raise ValueError(f"{shown(self.name)} must have {math.prod(shape)} numbers of {kind}")
        return Stored(shape, lambda: as_numbers(raw, kind).reshape(shape))


def _inside(tensor: Message, kind: str) -> Array:
    """The bytes of a tensor stored in this file: raw, or as numbers."""
    raw: list[Any] = tensor.get("raw_data", [])
    if raw:
        return np.frombuffer(raw[-1], np.uint8)
    if kind in _FIXED:
        return fixed(tensor.get(_FIXED[kind], []), DTYPES[kind]).view(np.uint8)
    field = "int64_data" if kind == "I64" else "int32_data"
    return np.array(integers(tensor.get(field, [])), np.int64).astype(DTYPES[kind]).view(np.uint8)


def _elsewhere(tensor: Message, shape: tuple[int, ...], kind: str, name: str, path: Path) -> Array:
    """An array in another file of the same folder."""
    entries = [message(one, _ENTRY) for one in tensor.get("external_data", [])]
    given = {text(one, "key"): text(one, "value") for one in entries}
    size = number_of_bytes(shape, kind)
    start, length = int(given.get("offset", 0)), int(given.get("length", size))
    with opened_beside(path, given.get("location", "")) as file:
        if length != size or start < 0 or start + size > file.size:
            raise ValueError(f"{shown(name)} of shape {shape} does not lie in {file.name}")
        file.seek(start)
        raw = np.empty(size, np.uint8)
        fill(raw, file, name)
    return as_numbers(raw, kind).reshape(shape)
