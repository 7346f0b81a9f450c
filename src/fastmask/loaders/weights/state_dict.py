"""A state dict as `torch.save` writes it, read without torch and without pickle.

It is a zip: data.pkl, a pickle that names tensors, and data/0, data/1, ..., the numbers that
these are views of. A state dict names only OrderedDict, the kinds of storages, and two functions
that make tensors; everything else in a pickle is refused by name.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..._checks import shown
from ..._typing import Array
from ...layers import Layer
from .._reading import MOST_AT_ONCE, Reader
from .._zips import check_stored
from .matching import matched
from .stored import Module, Stored, number_of_bytes, read_numbers, sizes
from .torch_names import modules_of
from .unpickling import Unpickler, checked

_STORAGES = {
    f"torch {name}Storage": dtype
    for name, dtype in zip(
        "Double Float Half BFloat16 Long Int Short Char Byte Bool".split(),
        "F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL".split(),
        strict=True,
    )
}
_DICT = "collections OrderedDict"
_TENSOR, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
_HOW = "torch.save(module.state_dict(), path) writes a state dict alone"


class _Storage(NamedTuple):
    """Numbers that tensors are views of."""

    dtype: str
    key: str
    numbers: int


def values(model: Layer, file: Reader) -> list[Array]:
    """The weights for a model."""
    return matched(model, modules(file), ordered=True)


def modules(file: Reader) -> list[Module]:
    """The modules in a file, which must stay open while they are read."""
    if not zipfile.is_zipfile(file):
        raise ValueError(f"it is no zip, as torch.save has written since torch 1.6; {_HOW}")
    file.seek(0)
    return modules_of(tensors(zipfile.ZipFile(file), file.size))


def tensors(archive: zipfile.ZipFile, limit: int) -> dict[str, Stored]:
    """The tensors by their names, in order.

    Args:
        archive: the file.
        limit: its size.

    Raises:
        ValueError: it is damaged, or holds something other than a state dict.
        Exception: of any kind, for a damaged file.
    """
    root = _root(archive, limit)
    read = lru_cache(maxsize=1)(partial(_numbers, archive, root))

    def called(path: str, arguments: tuple[Any, ...]) -> Any:
        if path == _DICT and not arguments:
            return {}
        if path == _PARAMETER and arguments:
            return checked(arguments[0], Stored)
        if path == _TENSOR and len(arguments) >= 4:
            return _tensor(read, *arguments[:4])
        raise ValueError(f"its pickle calls {path} with {len(arguments)} arguments")

    stored = partial(_storage, archive, root)
    return _state_dict(Unpickler(_known, called, stored).run(archive.read(f"{root}data.pkl")))


def _root(archive: zipfile.ZipFile, limit: int) -> str:
    """The folder in the archive; its members are checked, before one is read."""
    check_stored(archive.infolist(), limit, "torch.save")
    names = archive.namelist()
    root = next((n.removesuffix("data.pkl") for n in names if n.endswith("/data.pkl")), None)
    if root is None:
        raise ValueError(f"it has no data.pkl; {_HOW}")
    if archive.getinfo(f"{root}data.pkl").file_size > MOST_AT_ONCE:
        raise ValueError(f"its data.pkl has more than {MOST_AT_ONCE} bytes")
    order = f"{root}byteorder"
    if order in names and archive.read(order) != b"little":
        raise ValueError("its numbers are not in little-endian order")
    return root


def _known(path: str) -> None:
    if path not in (_DICT, _TENSOR, _PARAMETER, *_STORAGES):
        raise ValueError(
            f"it names {shown(path.replace(' ', '.'))}, which no state dict needs: it is a whole "
            f"module, or holds more than tensors, and is not read; {_HOW}"
        )


def _storage(archive: zipfile.ZipFile, root: str, given: Any) -> _Storage:
    """The storage of a persistent id, if all of it is there."""
    word, kind, key, _device, count = checked(given, tuple)
    path = getattr(kind, "path", "")
    if word != "storage" or path not in _STORAGES:
        raise ValueError(f"it has a storage of an unknown kind, {shown(path)}")
    dtype = _STORAGES[path]
    (numbers,) = sizes((count,), "a storage")
    size = archive.getinfo(f"{root}data/{checked(key, str)}").file_size
    if size != number_of_bytes((numbers,), dtype):
        raise ValueError(f"storage {shown(key)} must have {numbers} numbers of {dtype}")
    return _Storage(dtype, key, numbers)


def _tensor(read: Any, storage: Any, offset: Any, shape: Any, strides: Any) -> Stored:
    checked(storage, _Storage)
    own, steps = sizes(checked(shape, tuple), "a tensor"), sizes(strides, "the steps of a tensor")
    (first,) = sizes((offset,), "the begin of a tensor")
    last = first + sum((n - 1) * step for n, step in zip(own, steps, strict=True))
    if 0 not in own and last >= storage.numbers:
        raise ValueError(f"a tensor of shape {own} lies beyond the end of its storage")

    def view() -> Array:
        numbers: Array = read(storage)[first:]
        each = [numbers.itemsize * step for step in steps]
        return np.lib.stride_tricks.as_strided(numbers, own, each, writeable=False)

    return Stored(own, view)


def _numbers(archive: zipfile.ZipFile, root: str, storage: _Storage) -> Array:
    with archive.open(f"{root}data/{storage.key}") as stream:
        return read_numbers(stream, storage.numbers, storage.dtype, f"storage {storage.key}")


def _state_dict(found: Any) -> dict[str, Stored]:
    """A state dict; or the only one among the values of a dictionary, as in a checkpoint."""
    inside = [one for one in found.values() if _is_one(one)] if isinstance(found, dict) else []
    if _is_one(found) or len(inside) == 1:
        return dict(found if _is_one(found) else inside[0])
    keys = f" with {', '.join(map(repr, found)):.200}" if isinstance(found, dict) else ""
    what = "tensor" if isinstance(found, Stored) else type(found).__name__
    raise ValueError(f"it holds a {what}{keys}, not a state dict; {_HOW}")


def _is_one(found: object) -> bool:
    if not isinstance(found, dict) or not found:
        return False
    return all(isinstance(k, str) and isinstance(one, Stored) for k, one in found.items())
