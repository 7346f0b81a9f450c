"""Rows of a table that are known by number, and looked up by those who need their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._typing import FLOAT32, Array, Ints


class LookedUp:
    """An array of rows, (..., D) and float32, of which there are the numbers.

    Args:
        ids: the numbers.
        width: D.
        owner: the layer whose rows they are.
        look_up: gives the rows of numbers, for those who need them.
    """

    dtype = FLOAT32

    def __init__(self, ids: Ints, width: int, owner: Any, look_up: Callable[[Ints], Array]) -> None:
        self.ids, self.owner, self._look_up = ids, owner, look_up
        self.shape, self.ndim = (*ids.shape, width), ids.ndim + 1
        self.size = ids.size * width
        self._width = width

    def __getitem__(self, key: Any) -> LookedUp:
        """Some of the rows, by all axes but the last one."""
        return LookedUp(self.ids[key], self._width, self.owner, self._look_up)

    def __len__(self) -> int:
        return len(self.ids)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self._look_up(self.ids), dtype)
