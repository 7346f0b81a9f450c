"""Recurrent layers on rows of an embedding, which are known by their numbers.

A layer looks its sums up in a table, bias + row @ kernel for every row of the embedding. It
keeps the table until the weights of either layer change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.cell import Cell, Form, cell_in_form
from ..backends.host import HOST
from ..backends.looked_up import LookedUp
from ..backends.recurrent import Settings, pack, with_full_bias
from ._weights import Weights

wanted: ContextVar[bool] = ContextVar("fastmask_rows_by_number", default=False)


@contextmanager
def by_number() -> Iterator[None]:
    """Let the embedding called within return its rows as `LookedUp`.

    The reference kernels have no such tables, so with them it returns arrays.
    """
    token = wanted.set(HOST.has_forms())
    try:
        yield
    finally:
        wanted.reset(token)


def packed_with_table(
    rows: LookedUp, kind: Cell, form: str | None, weights: Weights, values: Any, settings: Settings
) -> tuple[Cell, tuple[Array, Array]]:
    """The variant of a cell that is called on rows by number, and its weights with their table.

    Args:
        rows: the rows.
        kind: the cell.
        form: form of the weights, see `quantize`.
        weights: the layer's weights.
        values: returns their values, as the kernels take them.
        settings: as in `backends.recurrent.forward`.
    """
    gathered, embedding = cell_in_form(kind, Form(form, gathered=True)), rows.owner
    made, of_rows = weights.made, embedding._weights.made  # before the values are read
    key = gathered, id(embedding)
    found = made.get(key)
    if found is None or found[0] is not of_rows:
        kernel, recurrent, bias, *others = with_full_bias(HOST, kind, values())
        flags = settings[len(settings) - kind.flags :]
        table = HOST.sums_of_rows(kind, embedding._all_rows(), kernel, bias, flags)
        nothing = np.empty((0, kernel.shape[1]), kernel.dtype)
        packed = pack(HOST, gathered, (nothing, recurrent, bias, *others), settings)
        made[key] = found = of_rows, (packed, table)
    return gathered, found[1]
