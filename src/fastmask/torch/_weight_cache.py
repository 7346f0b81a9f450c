"""Weights in the kernels' layout, kept from call to call while nothing is trained.

Whether weights have changed is found by comparing them with a copy. A tensor's version counter
would say it sooner, but not after `weight.data.copy_(...)`, nor after a write through NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .._dispatch import kernels
from .._typing import Array
from ._cells import Cell
from ._layer import as_kernels_take


class _Entry(NamedTuple):
    copies: list[Tensor]
    column: Any
    packed: list[Array]


_entries: Any = WeakIdKeyDictionary()  # by weight_ih of the first direction


def packed_once(cell: Cell, weights: Sequence[Sequence[Tensor]]) -> list[Array]:
    """What the forward kernels read, of each direction."""
    flat = [weight.detach() for direction in weights for weight in direction]
    entry = _entries.get(weights[0][0])
    if entry is None or entry.column is not kernels() or not _equal(entry.copies, flat):
        _, packed = as_kernels_take(cell, weights)
        entry = _Entry([weight.clone() for weight in flat], kernels(), packed)
        _entries[weights[0][0]] = entry
    packed_now: list[Array] = entry.packed
    return packed_now


def _equal(known: list[Tensor], weights: list[Tensor]) -> bool:
    return len(known) == len(weights) and all(
        a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(known, weights, strict=True)
    )
