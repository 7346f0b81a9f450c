"""What layers keep on devices: copies of their weights, plain or packed, until these change."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .._typing import Array
from . import _arrays, _recurrent

_kept: WeakKeyDictionary[Any, dict[Any, Any]] = WeakKeyDictionary()


def packed(cell: Any, x: Any) -> Any:
    """The weights of a cell as kernels read them, beside `x`, a view.

    They are packed once in each form of `fastmask_kernels.cuda.use_weights`.
    """
    x = _arrays.view_of(x, "inputs")
    kept = _kept.setdefault(cell, {})
    key = (x.device, _arrays.chosen_weights())
    if key not in kept:
        kernel, recurrent, bias = cell._values()
        columns = kernel.shape[1]
        if bias is None:
            bias = np.zeros(columns, kernel.dtype)
        if cell._kind.prefix == "gru" and bias.ndim == 1:
            bias = np.stack([bias, np.zeros(columns, kernel.dtype)])
        kernel, recurrent, bias = (_arrays.put(one, x.device) for one in (kernel, recurrent, bias))
        kept[key] = _recurrent.pack(cell._kind, kernel, recurrent, bias, cell._settings(), beside=x)
    return kept[key]


def on_device(layer: Any, weight: Array, like: Any) -> Any:
    """A view of a weight of `layer`, copied once to the device and kind of `like`, a view.

    From then on NumPy refuses to change the weight in place, which the copy would not know of:
    `set_weights` changes both.
    """
    kept = _kept.setdefault(layer, {})
    key = (id(weight), like.device, type(like.owner))
    if key not in kept:
        weight.flags.writeable = False
        copy = _arrays.empty(weight.shape, weight.dtype, like)
        _arrays.copy_into(copy, _arrays.put(weight, like.device))
        kept[key] = copy
    return kept[key]


def forget(layer: Any) -> None:
    """Drop the copies, because the weights change."""
    if layer in _kept:
        del _kept[layer]
        for weight in layer._weights:
            if weight.value.flags.owndata:
                weight.value.flags.writeable = True
