"""Awkward arrays as columns."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .arrow import texts
from .columns import NOTHING, Column


def column_of(array: Any) -> Column:
    """What an Awkward array holds; numbers stay where they are.

    Raises:
        TypeError: it is not in the memory of the host, or does not hold numbers, texts, or lists
            of these.
    """
    ak = sys.modules["awkward"]
    if ak.backend(array) != "cpu":
        raise TypeError(f"x must be on the CPU, not on backend {ak.backend(array)!r} of Awkward")
    layout = ak.to_packed(array, highlevel=False)
    return NOTHING if layout.is_unknown else _column(layout)


def _column(layout: Any) -> Column:
    if layout.is_option:
        there = layout.mask_as_bool(valid_when=True)
        # If a value is missing, only the type of the values matters.
        inner = _column(layout.project())
        return inner if there.all() else inner._replace(valid=np.asarray(there))
    if layout.is_unknown:
        return Column(np.zeros(0, np.float32))
    if layout.is_indexed:
        return _column(layout.project().to_packed())
    if layout.is_numpy and layout.purelist_depth > 1:
        return _column(layout.to_RegularArray())
    if layout.is_numpy and layout.dtype.kind in "biuf":
        return Column(np.asarray(layout.data))
    if layout.is_list and layout.parameter("__array__") == "string":
        plain = layout.to_ListOffsetArray64(True)
        joined = np.asarray(plain.content.data).tobytes()
        return Column(texts(joined, np.asarray(plain.offsets.data).tolist()))
    if layout.is_list and layout.parameter("__array__") is None:
        plain = layout.to_ListOffsetArray64(True)
        offsets = np.asarray(plain.offsets.data, np.int64)
        return Column(_column(plain.content[: int(offsets[-1])]), offsets)
    raise TypeError(f"x must hold lists of numbers or texts, not Awkward's {layout.form.type}")
