"""Weights in the kernels' layout, kept from call to call while nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ._cells import Cell
from ._column import Column, column_of
from ._layer import as_kernels_take


class _Entry(NamedTuple):
    column: Column
    stamp: Any
    packed: Callable[[], Sequence[Any]]


_entries: Any = WeakIdKeyDictionary()  # by weight_ih of the first direction


def packed_once(cell: Cell, weights: Sequence[Sequence[Tensor]]) -> Sequence[Any]:
    """What the forward kernels read, of each direction."""
    first = weights[0][0]
    column = column_of(first.device)
    flat = [weight.detach() for direction in weights for weight in direction]
    entry = _entries.get(first)
    if entry is None or entry.column is not column or not column.fits(entry.stamp, flat):
        _, packed = as_kernels_take(cell, weights)
        stamp = column.stamp(flat)
        if stamp is None:
            return packed
        entry = _entries[first] = _Entry(column, stamp, column.share(packed))
    kept: Sequence[Any] = entry.packed()
    return kept


def forget(weights: Sequence[Tensor]) -> None:
    """Let nothing be kept of weights that may have changed without a trace."""
    for weight in weights:
        _entries.pop(weight, None)
