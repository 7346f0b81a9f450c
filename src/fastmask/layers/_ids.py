"""Ids as inputs of a layer."""

from __future__ import annotations

from typing import Any

from .._typing import Ints
from ..backends.dispatch import integer_array

_OF_TEXTS = ": a TextVectorization or StringLookup layer makes ids of texts"
_HINTS = {"f": ": token ids are whole numbers", **dict.fromkeys("OSU", _OF_TEXTS)}


def ids_in(inputs: Any, layer: Any) -> Ints:
    """The inputs of a layer that takes ids, as int64; see `integer_array`.

    Raises:
        TypeError: they do not hold numbers; the message names the layer, as below.
        ValueError: a number is not whole or not in the range of int64, or rows differ in length.
    """
    try:
        return integer_array(inputs, f"inputs of layer {layer.name!r}")
    except (TypeError, ValueError) as error:
        kind = getattr(getattr(inputs, "dtype", None), "kind", "")
        raise type(error)(f"{error}{_HINTS.get(kind, '')}") from None
