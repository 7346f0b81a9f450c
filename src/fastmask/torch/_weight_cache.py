"""A cache of packed weights, while nothing is trained.

Only on the CPU, where comparing all values tells whether weights have changed, by whatever means.
Nothing else does: torch's version counter misses writes through `weight.data` or NumPy, and the
steps of a fused optimizer. On a GPU the host would have to wait for the answer, and packing takes
as long as comparing, so weights are packed for each call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ..backends.table import kernels
from ._backend import backend_of, packed
from ._cells import TorchCell
from ._cpu import CPU


class _Entry(NamedTuple):
    table: Any  # the kernels that packed them
    copies: list[list[Tensor]]  # of each direction
    packed: Sequence[Any]


_entries: Any = WeakIdKeyDictionary()  # by weight_ih of the first direction


def packed_once(
    cell: TorchCell, weights: Sequence[Sequence[Tensor]], check: Callable[[], None]
) -> Sequence[Any]:
    """The packed weights of each direction; `check` is called before any are packed."""
    first = weights[0][0]
    if backend_of(first.device) is not CPU:
        check()
        return [packed(cell, cell.in_order(direction)) for direction in weights]
    entry: _Entry | None = _entries.get(first)
    if entry is None or not _fits(entry, weights):
        check()
        entry = _entries[first] = _new_entry(cell, weights)
    return entry.packed


def _new_entry(cell: TorchCell, weights: Sequence[Sequence[Tensor]]) -> _Entry:
    # Copied first, and packed from the copies: a change meanwhile shows in the next comparison.
    copies = [
        [weight.detach().clone(memory_format=torch.contiguous_format) for weight in direction]
        for direction in weights
    ]
    made = [packed(cell, cell.in_order(direction)) for direction in copies]
    return _Entry(kernels(), copies, made)


def _fits(entry: _Entry, weights: Sequence[Sequence[Tensor]]) -> bool:
    """Whether the weights are the same as when they were packed."""
    return (
        entry.table is kernels()
        and len(entry.copies) == len(weights)
        and all(map(_equal, entry.copies, weights))
    )


def _equal(copies: Sequence[Tensor], weights: Sequence[Tensor]) -> bool:
    return len(copies) == len(weights) and all(
        copy.dtype == weight.dtype and torch.equal(copy, weight.detach())
        for copy, weight in zip(copies, weights, strict=True)
    )
