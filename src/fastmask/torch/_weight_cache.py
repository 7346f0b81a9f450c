"""A cache of packed weights, while nothing is trained.

Only on the CPU, where comparing all values tells whether weights have changed, by whatever means.
Nothing else does: torch's version counter misses writes through `weight.data` or NumPy, and the
steps of a fused optimizer. On a GPU the host would have to wait for the answer, and packing takes
as long as comparing, so weights are packed for each call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor

from ..backends.table import kernels
from . import _device
from ._backend import packed
from ._cells import TorchCell

# It holds the GIL, so that no other thread replaces a weight's memory meanwhile, and takes a
# quarter of torch.equal's time.
_compare = ctypes.PyDLL("msvcrt" if os.name == "nt" else None).memcmp
_compare.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t


class _Copy(NamedTuple):
    tensor: Tensor  # contiguous
    shape: torch.Size
    dtype: torch.dtype
    address: int
    nbytes: int


class _Entry(NamedTuple):
    first: ref[Tensor]  # weight_ih of the first direction
    cell: TorchCell  # modules of two cells may share all weights
    table: Any  # the kernels that packed them
    copies: list[list[_Copy]]  # of each direction
    packed: Sequence[Any]


_entries: dict[int, _Entry] = {}  # by the id of `first`


def packed_once(
    cell: TorchCell, weights: Sequence[Sequence[Tensor]], check: Callable[[], None]
) -> Sequence[Any]:
    """The packed weights of each direction; `check` is called before any are packed."""
    first = weights[0][0]
    if first.device.type == _device.CUDA:
        check()
        return [packed(cell, cell.in_order(direction)) for direction in weights]
    entry = _entries.get(id(first))
    if entry is None or entry.first() is not first or not _fits(entry, cell, weights):
        check()
        entry = _new_entry(cell, weights)
    return entry.packed


def _new_entry(cell: TorchCell, weights: Sequence[Sequence[Tensor]]) -> _Entry:
    # Copied first, and packed from the copies: a change meanwhile shows in the next comparison.
    copies = [list(map(_copied, direction)) for direction in weights]
    made = [packed(cell, cell.in_order([one.tensor for one in own])) for own in copies]
    first = weights[0][0]
    entry = _entries[id(first)] = _Entry(ref(first, _forget), cell, kernels(), copies, made)
    return entry


def _copied(weight: Tensor) -> _Copy:
    copy = weight.detach().clone(memory_format=torch.contiguous_format)
    return _Copy(copy, copy.shape, copy.dtype, copy.data_ptr(), copy.nbytes)


def _forget(first: ref[Tensor]) -> None:
    for key, entry in list(_entries.items()):
        if entry.first is first:
            _entries.pop(key, None)


def _fits(entry: _Entry, cell: TorchCell, weights: Sequence[Sequence[Tensor]]) -> bool:
    """Whether the weights are the same as when they were packed, for the same cell."""
    if entry.cell is not cell or entry.table is not kernels() or len(entry.copies) != len(weights):
        return False
    for copies, direction in zip(entry.copies, weights, strict=True):
        if len(copies) != len(direction) or not all(map(_equal, copies, direction)):
            return False
    return True


def _equal(copy: _Copy, weight: Tensor) -> bool:
    """Whether a weight has the same bits as a copy."""
    tensor, shape, dtype, address, nbytes = copy
    if weight.dtype != dtype or weight.shape != shape or not weight.is_cpu:
        return False
    if not weight.is_contiguous() or weight.is_neg():
        return bool(torch.equal(tensor, weight.detach()))
    same_memory = weight.detach()  # keeps it alive if another thread gives the weight new memory
    return bool(_compare(address, same_memory.data_ptr(), nbytes) == 0)
