"""Weights one after the other in one array: the layout that the forward kernels here read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def pack(packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """Kernel, recurrent kernel and bias into `packed`."""
    packed[:] = np.concatenate([kernel.ravel(), recurrent_kernel.ravel(), bias.ravel()])


def unpack(
    packed: Array, features: int, units: int, gates: int, biases: int = 1
) -> tuple[Array, Array, Array]:
    """The same three again; the bias has (biases, gates * units)."""
    columns = gates * units
    kernel, recurrent_kernel, bias = np.split(
        packed, [features * columns, (features + units) * columns]
    )
    return (
        kernel.reshape(features, columns),
        recurrent_kernel.reshape(units, columns),
        bias.reshape(biases, columns),
    )
