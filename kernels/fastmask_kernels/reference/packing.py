"""Weights concatenated in one array: the layout that these forward kernels read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def pack(packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """Write kernel, recurrent kernel and bias to `packed`."""
    packed[:] = np.concatenate([kernel.ravel(), recurrent_kernel.ravel(), bias.ravel()])


def unpack(
    packed: Array, features: int, units: int, gates: int, biases: int = 1
) -> tuple[Array, Array, Array]:
    """Kernel, recurrent kernel and bias, (biases, gates * units), from `packed`."""
    columns = gates * units
    kernel, recurrent_kernel, bias = np.split(
        packed, [features * columns, (features + units) * columns]
    )
    return (
        kernel.reshape(features, columns),
        recurrent_kernel.reshape(units, columns),
        bias.reshape(biases, columns),
    )
