"""Weight files, written without the programs that usually write them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

DTYPES: dict[str, Any] = {
    "F64": lambda x: x.astype("<f8").tobytes(),
    "F32": lambda x: x.astype("<f4").tobytes(),
    "F16": lambda x: x.astype("<f2").tobytes(),
    "BF16": lambda x: (x.astype("<f4").reshape(-1).view(np.uint32) >> 16).astype("<u2").tobytes(),
    "I64": lambda x: x.astype("<i8").tobytes(),
}


def safetensors(path: Path, state: Mapping[str, Any], dtype: str = "F32") -> None:
    """Write arrays as floats of `dtype`, and integers as I64."""
    header, data = {}, b""
    for name, value in state.items():
        array = np.asarray(value)
        kind = dtype if array.dtype.kind == "f" else "I64"
        content = DTYPES[kind](array)
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += content
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def field(number: int, value: Any) -> bytes:
    """A field of a Protocol Buffer: a number, text, bytes, or a 32-bit float."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value % 2**64)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def tensor(name: str, value: Any, *more: bytes) -> bytes:
    """A TensorProto of floats; `more` replaces its data."""
    dims = b"".join(field(1, size) for size in np.shape(value))
    data = b"".join(more) or field(9, np.asarray(value, "<f4").tobytes())
    return dims + field(2, 1) + field(8, name) + data


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> bytes:
    """A NodeProto; names are separated by spaces, and - stands for an omitted input."""
    found = b"".join(field(1, name.strip("-")) for name in inputs.split())
    found += b"".join(field(2, name) for name in outputs.split())
    for name, value in attributes.items():
        if isinstance(value, (list, tuple)):
            numbers = isinstance(value[0], int)
            content = b"".join(field(8 if numbers else 9, one) for one in value)
        else:
            content = field({float: 2, int: 3, str: 4, bytes: 5}[type(value)], value)
        found += field(5, field(1, name) + content)
    return found + field(4, kind)


def onnx(path: Path, nodes: Iterable[bytes], tensors: Iterable[bytes]) -> None:
    """Write a model with these nodes and initializers."""
    graph = b"".join(field(1, one) for one in nodes) + b"".join(field(5, one) for one in tensors)
    path.write_bytes(field(1, 8) + field(7, graph))
