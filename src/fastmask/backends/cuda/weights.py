"""What layers keep on devices: copies of their weights, plain or packed, until these change."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..._typing import Array
from . import arrays as _arrays
from . import recurrent as _recurrent


class _Kept(NamedTuple):
    """What was made from the weights of one version, see `fastmask.layers._weights.Weights`."""

    version: object
    copies: dict[Any, Any]


class _Copy(NamedTuple):
    """A weight on a device."""

    weight: Array  # held, so that no other array gets its id
    values: Array | None  # what was copied, where the layer's code may write to the weight
    array: Any


_kept: WeakKeyDictionary[Any, _Kept] = WeakKeyDictionary()


def packed(cell: Any, x: Any) -> Any:
    """The weights of a cell as kernels read them, beside `x`, a view.

    They are packed once in each form of `fastmask_kernels.cuda.use_weights`.
    """
    x = _arrays.view_of(x, "inputs")
    copies = _copies_of(cell)
    key = (x.device, _arrays.chosen_weights())
    known = copies.get(key)
    if known is None:
        known = copies[key] = _packed(cell, x)
    return known


def _packed(cell: Any, x: Any) -> Any:
    kernel, recurrent, bias = cell._values()
    columns = kernel.shape[1]
    if bias is None:
        bias = np.zeros(columns, kernel.dtype)
    if cell._kind.prefix == "gru" and bias.ndim == 1:
        bias = np.stack([bias, np.zeros(columns, kernel.dtype)])
    kernel, recurrent, bias = (_arrays.put(one, x.device) for one in (kernel, recurrent, bias))
    return _recurrent.pack(cell._kind, kernel, recurrent, bias, cell._settings(), beside=x)


def on_device(layer: Any, weight: Array, like: Any) -> Any:
    """A view of a weight of `layer`, copied once to the device and kind of `like`, a view.

    NumPy refuses to write to weights of fastmask's own layers. A weight that may be written to
    is compared in each call with what was copied.
    """
    copies = _copies_of(layer)
    key = (id(weight), like.device, type(like.owner))
    known = copies.get(key)
    if known is None or not _holds(known, weight):
        values = weight.copy() if weight.flags.writeable else None
        array = _arrays.empty(weight.shape, weight.dtype, like)
        source = weight if values is None else values
        _arrays.copy_into(array, _arrays.put(source, like.device))
        known = copies[key] = _Copy(weight, values, array)
    return known.array


def _holds(known: _Copy, weight: Array) -> bool:
    if known.weight is not weight:
        return False
    if known.values is None:
        return not weight.flags.writeable
    return np.array_equal(known.values, weight)


def _copies_of(layer: Any) -> dict[Any, Any]:
    version = layer._weights.version
    known = _kept.get(layer)
    if known is None or known.version is not version:
        known = _kept[layer] = _Kept(version, {})
    return known.copies
