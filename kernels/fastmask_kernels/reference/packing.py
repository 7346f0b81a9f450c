"""Weights concatenated in one array: the layout that these forward kernels read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..packed import wrong_packed

Array = NDArray[np.floating]


def pack(packed: Array, *weights: Array) -> None:
    """Write kernel, recurrent kernel, bias and a cell's vectors to `packed`."""
    size = sum(weight.size for weight in weights)
    if len(packed) != size:
        raise ValueError(f"packed must have {size} elements for these weights, not {len(packed)}")
    packed[:] = np.concatenate([weight.ravel() for weight in weights])


def unpack(
    name: str, packed: Array, features: int, units: int, gates: int, biases: int = 1
) -> tuple[Array, Array, Array]:
    """Kernel, recurrent kernel and bias, (biases, gates * units), of the layer `name`."""
    columns = gates * units
    size = (features + units + biases) * columns
    if len(packed) != size:
        raise wrong_packed(f"{name}_pack", features, units, size, len(packed))
    kernel, recurrent_kernel, bias = np.split(
        packed, [features * columns, (features + units) * columns]
    )
    return (
        kernel.reshape(features, columns),
        recurrent_kernel.reshape(units, columns),
        bias.reshape(biases, columns),
    )
