"""Rows of a batch part by part, so that what is made of a part stays in a processor's cache."""

from __future__ import annotations

import numpy as np

from .._typing import Array
from ..backends.dispatch import all_on_host

_NUMBERS = 2**19  # 2 MB in float32


def row_parts(like: Array, numbers: int) -> list[slice]:
    """Parts of the rows of `like`, for `numbers` results a row; on a GPU a single one."""
    count = len(like)
    most = max(1, _NUMBERS // max(numbers, 1) if all_on_host([like]) else count)
    return [slice(first, first + most) for first in range(0, count, most)] or [slice(0, 0)]


def together(parts: list[Array]) -> Array:
    """Join the results of the parts."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
