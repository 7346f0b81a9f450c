"""Which embeddings of a model are folded into the recurrent layers that use them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backends.folding import get_fold_limit
from ..layers import RNN, Bidirectional, Embedding
from ..layers._base import BaseLayer
from ..layers._cell import KernelCell
from ..layers._noise import Noise

Edge = tuple[BaseLayer | None, BaseLayer | None]
"""The layer that makes a value, and one that uses it; None if that is not a layer's call."""

FLOAT32 = np.dtype(np.float32)


def tables_of(edges: Iterable[Edge]) -> dict[str, int]:
    """Bytes of the tables of each embedding, by name, whose rows only recurrent layers use.

    Layers in between that change their inputs in training only, such as Dropout, do not matter.
    """
    users: dict[int, list[BaseLayer | None]] = {}
    layers = {}
    for maker, user in edges:
        if maker is not None:
            users.setdefault(id(maker), []).append(user)
            layers[id(maker)] = maker

    def ends(layer: BaseLayer) -> list[Any] | None:
        """The cells that use a layer's outputs; None if anything else uses them."""
        found: list[Any] = []
        for user in users.get(id(layer), [None]):
            more = ends(user) if isinstance(user, Noise) else _cells_of(user)
            if more is None or layer._dtype != FLOAT32:
                return None
            found += more
        return found

    found = {one.name: (one, ends(one)) for one in layers.values() if type(one) is Embedding}
    return {
        name: sum(_table_bytes(embedding, cell) for cell in cells)
        for name, (embedding, cells) in found.items()
        if cells
    }


def is_folded(bytes: int | None) -> bool:
    """Whether an embedding with tables of this size is folded; None for one without tables."""
    return bytes is not None and bytes <= get_fold_limit()


def _cells_of(user: BaseLayer | None) -> list[Any] | None:
    """The cells of a layer that can look up their sums; None if it needs the rows themselves."""
    if type(user) is Bidirectional:
        both = [_cells_of(layer) for layer in user._both]
        return None if None in both else [cell for one in both for cell in one or ()]
    if not isinstance(user, RNN) or type(user).call is not RNN.call or user._dtype != FLOAT32:
        return None
    cell, *others = user._cells
    known = isinstance(cell, KernelCell) and cell._known and cell._dtype == FLOAT32
    return [cell] if known and not others else None


def _table_bytes(embedding: Any, cell: Any) -> int:
    sums = len(cell._cell.inputs) if hasattr(cell, "_cell") else cell._kind.gates
    return int(embedding.input_dim * sums * cell.units * FLOAT32.itemsize)
