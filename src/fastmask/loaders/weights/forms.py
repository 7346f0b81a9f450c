"""The weights of layers in torch's form: names, shapes, and the conversion back.

| fastmask | torch |
|---|---|
| kernel, recurrent_kernel (F, gU), (U, gU) | weight_ih, weight_hh, transposed |
| bias (gU), or (2, gU) of a GRU with `reset_after` | bias_ih + bias_hh; or these two as rows |
| gates of a GRU z, r, h | r, z, n |
| kernel of `Dense` and convolutions | weight, its axes in reversed order |
| embeddings; gamma, beta | weight; weight, bias |
| moving_mean, moving_variance | running_mean, running_var |

All other layers keep their own names and shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..._typing import Array
from ...layers import GRUCell, LSTMCell, SimpleRNNCell
from ...layers._cell import KernelCell

_NAMES = {
    "kernel": "weight",
    "embeddings": "weight",
    "gamma": "weight",
    "scale": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


class Form(NamedTuple):
    """What a layer needs from a file."""

    shapes: dict[str, tuple[int, ...]]  # of each part
    weights: Callable[[Mapping[str, Array]], list[Array]]  # in the layer's order


def form_of(layer: Any) -> Form:
    """The form of a layer's own weights, without those of layers inside it."""
    if isinstance(layer, (LSTMCell, GRUCell, SimpleRNNCell)):
        return _recurrent(layer)
    own = [(weight.name, weight.value.shape) for weight in layer._weights]
    if isinstance(layer, KernelCell):
        return Form(dict(own), lambda parts: [parts[name] for name, _ in own])
    names = [(name, _NAMES.get(name, name)) for name, _ in own]
    shapes = {
        _NAMES.get(name, name): shape[::-1] if name == "kernel" else shape for name, shape in own
    }
    return Form(
        shapes,
        lambda parts: [parts[part].T if name == "kernel" else parts[part] for name, part in names],
    )


def _recurrent(cell: LSTMCell | GRUCell | SimpleRNNCell) -> Form:
    kernel, recurrent_kernel, *bias = (weight.value.shape for weight in cell._weights)
    shapes = {"weight_ih": kernel[::-1], "weight_hh": recurrent_kernel[::-1]}
    if bias:
        shapes |= {"bias_ih": kernel[1:], "bias_hh": kernel[1:]}

    def weights(parts: Mapping[str, Array]) -> list[Array]:
        kernel, recurrent_kernel, *bias = (_our_gates(cell, parts[name]) for name in shapes)
        if bias and isinstance(cell, GRUCell) and cell.reset_after:
            bias = [np.stack(bias)]
        elif bias:
            bias = [bias[0] + bias[1]]
        return [kernel.T, recurrent_kernel.T, *bias]

    return Form(shapes, weights)


def _our_gates(cell: KernelCell, rows: Array) -> Array:
    """The rows of torch's gates in the order of ours."""
    if not isinstance(cell, GRUCell):
        return rows
    r, z, n = np.split(rows, 3)
    return np.concatenate([z, r, n])
