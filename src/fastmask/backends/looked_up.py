"""Rows of a table, kept as numbers until their values are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._typing import FLOAT32, Array, Ints


class LookedUp:
    """An array of rows, (..., D) in float32, that holds only their numbers.

    Args:
        ids: the numbers.
        width: D.
        owner: the layer whose rows they are.
        look_up: returns the rows with given numbers, when their values are needed.
    """

    dtype = FLOAT32

    def __init__(self, ids: Ints, width: int, owner: Any, look_up: Callable[[Ints], Array]) -> None:
        self.ids, self.owner, self._look_up = ids, owner, look_up
        self.shape, self.ndim = (*ids.shape, width), ids.ndim + 1
        self.size = ids.size * width
        self._width = width

    def __getitem__(self, key: Any) -> LookedUp:
        """Some of the rows; `key` indexes all axes but the last one."""
        return LookedUp(self.ids[key], self._width, self.owner, self._look_up)

    def __len__(self) -> int:
        return len(self.ids)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self._look_up(self.ids), dtype)
