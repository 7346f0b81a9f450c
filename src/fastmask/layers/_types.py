"""What layers are given and return, in types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._typing import Array, ArrayLike, Bools
from ..masks.mask import Mask

Arrays = Array | list[Array]
"""What `call` gets: an array, or a list for a layer that is called on a list."""

MaskLike = Mask | ArrayLike
"""What can be given as a mask."""

Masks = Mask | list[Mask | None] | None
"""The masks of `Arrays`."""

BoolArrays = Bools | list[Bools | None] | None
"""The masks as `call` and `compute_mask` get them."""

ListOfMasks = Sequence[Bools | None] | None
"""The masks that layers called on a list get."""

States = Sequence[Any]
"""States of a cell: arrays; of stacked cells: for each cell its states."""
