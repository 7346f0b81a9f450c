"""A cache of packed weights for predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.host import HOST
from ..backends.keeping import Keeping
from ..backends.layer import Layer
from ..backends.recurrent import pack

MOST_KEPT = 1 << 25  # bytes


class _Slot:
    """The weights that were last seen at some addresses, and their packed form."""

    kept: tuple[list[bytes], Array] | None = None


def _size(_layer: Layer, dtype: np.dtype[Any], shapes: tuple[Any, ...], *_: Any) -> int:
    return 3 * dtype.itemsize * sum(map(int, map(np.prod, shapes)))  # packed ones are padded


_slots = Keeping(lambda *_: _Slot(), _size, MOST_KEPT)


def packed(layer: Layer, weights: Sequence[Array]) -> Array:
    """`pack`, or its last result if the weights at these addresses are bitwise unchanged."""
    places = [weight.__array_interface__["data"][0] for weight in weights]
    shapes = tuple([weight.shape for weight in weights])
    slot = _slots(layer, weights[0].dtype, shapes, HOST.packing(weights[0]), *places)
    now, kept = [weight.tobytes() for weight in weights], slot.kept
    if kept is None or kept[0] != now:
        kept = slot.kept = now, pack(HOST, layer.cell, weights, layer.settings)
    return kept[1]
