"""A .safetensors file: the length of a header, the header in JSON, the bytes of all arrays."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from ..._checks import shown
from ..._typing import Array
from ...layers import Layer
from .._reading import Reader, different_keys
from .matching import matched
from .stored import Module, Stored, number_of_bytes, read_numbers, sizes
from .torch_names import modules_of

_ABOUT = "__metadata__"


def values(model: Layer, file: Reader) -> list[Array]:
    """The weights for a model; the order of the modules is not kept in such a file."""
    return matched(model, modules(file), ordered=False)


def modules(file: Reader) -> list[Module]:
    """The modules in a file."""
    return modules_of(tensors(file))


def tensors(file: Reader) -> dict[str, Stored]:
    """The arrays by their names.

    Raises:
        ValueError: the header is damaged, or an array lies outside of the file.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > file.size - 8:
        raise ValueError(f"its header claims {length} bytes, but the file has {file.size}")
    header = json.loads(file.read(length), object_pairs_hook=different_keys)
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    return {
        name: _stored(name, entry, file, 8 + length)
        for name, entry in header.items()
        if name != _ABOUT
    }


def _stored(name: str, entry: Any, file: Reader, begin: int) -> Stored:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{shown(name)} must have dtype, shape and data_offsets")
    shape, dtype = sizes(entry["shape"], name), entry["dtype"]
    start, *stop = sizes(entry["data_offsets"], name) or (0,)
    size = number_of_bytes(shape, dtype) if isinstance(dtype, str) else -1
    if stop != [start + size] or begin + start + size > file.size:
        raise ValueError(
            f"{shown(name)} of shape {shape} has bytes {shown(entry['data_offsets'])}, which "
            "do not have its size, or lie beyond the end of the file"
        )
    return Stored(shape, partial(_read, file, begin + start, shape, dtype, name))


def _read(file: Reader, start: int, shape: tuple[int, ...], dtype: str, name: str) -> Array:
    file.seek(start)
    count = number_of_bytes(shape, dtype) // number_of_bytes((), dtype)
    return read_numbers(file, count, dtype, name).reshape(shape)
