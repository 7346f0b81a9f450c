"""Which numbers mark a step as valid: one convention for everything that takes a mask."""

from __future__ import annotations

import numpy as np

from .._checks import shown
from .._typing import Array

_CONVENTION = "mask must hold True or 1 where a step is valid and False or 0 where it is masked"
_ADDITIVE = (
    "this looks like an additive attention mask, which has 0 where a step is valid and -inf, or a "
    "large negative number, where it is masked: pass mask == 0"
)
_LABELS = "if these are labels, which are {0} where they count for nothing, pass labels != {0}; or "
NAN_IN_MASK = "mask holds NaN, which is neither valid nor masked"


def checked_mask(array: Array) -> Array:
    """`array`, of any shape, after checking that its values are valid in a mask.

    These are bools, the floats 0 and 1, and integers that are not negative, where all but 0 mean
    valid, as in Keras.

    Raises:
        TypeError: it does not hold real numbers.
        ValueError: it holds another number.
    """
    kind = array.dtype.kind
    if kind == "b":
        return array
    if kind not in "iuf":
        some = array.ravel()[:1].tolist() if kind == "O" else []
        such = f" such as {shown(some[0])}" if some else ""
        raise TypeError(f"mask must be bool, integer or float, not dtype {array.dtype}{such}")
    if kind == "u" or not array.size:
        return array
    bad = array < 0 if kind == "i" else (array != 0) & (array != 1)
    if np.count_nonzero(bad):  # in a third of the time of any()
        raise misread(array[bad])
    return array


def misread(bad: Array) -> ValueError:
    """The error for a non-empty array of numbers that are neither valid nor masked."""
    if np.isnan(bad).any():
        return ValueError(NAN_IN_MASK)
    negative = bad[bad < 0]
    if negative.size:
        value = negative.flat[0]
        # ignore_index of torch's losses; labels of other libraries have -1
        labels = _LABELS.format(value) if value == -100 or bad.dtype.kind == "i" else ""
        return ValueError(f"{_CONVENTION}, not {value}: {labels}{_ADDITIVE}")
    return ValueError(f"{_CONVENTION}, not {bad.flat[0]}: compare first, as in mask > 0.5")
