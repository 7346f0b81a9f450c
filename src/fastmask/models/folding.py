"""Which embeddings of a model are folded into the recurrent layers that they feed."""

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
"""What makes a value, and what is computed from it; None for what is no layer's call."""

FLOAT32 = np.dtype(np.float32)


def tables_of(edges: Iterable[Edge]) -> dict[str, int]:
    """By the name of each embedding that feeds recurrent layers alone, the bytes of its tables.

    Layers between that only disturb their inputs in training make no difference.
    """
    users: dict[int, list[BaseLayer | None]] = {}
    layers = {}
    for maker, user in edges:
        if maker is not None:
            users.setdefault(id(maker), []).append(user)
            layers[id(maker)] = maker

    def ends(layer: BaseLayer) -> list[Any] | None:
        """The cells that a layer's outputs go to; None where they go elsewhere."""
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
    """Whether an embedding is folded whose tables have that size; None where there are none."""
    return bytes is not None and bytes <= get_fold_limit()


def _cells_of(user: BaseLayer | None) -> list[Any] | None:
    """The cells that look sums up in a layer; None where it needs the rows themselves."""
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
