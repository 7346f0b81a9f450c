"""LSTM (Hochreiter and Schmidhuber, 1997; forget gate of Gers et al., 2000), one step at a time.

z = x W + h U + b,  in the gate order i, f, g, o of Keras
c' = sigmoid(f) c + sigmoid(i) tanh(g)
h' = sigmoid(o) tanh(c')
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._checked import checked
from .activations import activate

Array = NDArray[np.floating]
Ints = NDArray[np.int64]


@checked
def lstm_pack(packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """See `spec`: kernel, recurrent kernel and bias one after the other."""
    packed[:] = np.concatenate([kernel.ravel(), recurrent_kernel.ravel(), bias])


def lstm_packed_size(features: int, units: int, dtype: np.dtype[np.floating]) -> int:  # noqa: ARG001 - layouts of other columns depend on it
    """Length of `packed`."""
    return (features + units + 1) * 4 * units


@checked
def lstm_fwd(
    out: Array,
    h_last: Array,
    c_last: Array,
    h_steps: Array,
    c_steps: Array,
    gates: Array,
    x: Array,
    offsets: Ints,
    steps: Ints,
    order: Ints,  # noqa: ARG001 - rows are independent
    packed: Array,
    h_first: Array,
    c_first: Array,
    activation: str,
    recurrent_activation: str,
    reverse: bool,
    zero_masked: bool,
    threads: int,  # noqa: ARG001 - a plain loop has one
) -> None:
    """See `spec`."""
    _, time, features = x.shape
    units = h_first.shape[1]
    gates = 4 * units
    kernel, recurrent_kernel, bias = np.split(
        packed, [features * gates, (features + units) * gates]
    )
    kernel = kernel.reshape(features, gates)
    recurrent_kernel = recurrent_kernel.reshape(units, gates)
    for b in range(len(x)):
        h, c = h_first[b], c_first[b]
        valid = np.zeros(time, bool)
        valid[steps[offsets[b] : offsets[b + 1]] - b * time] = True
        previous = np.zeros(units, x.dtype)
        for position, t in enumerate(range(time - 1, -1, -1) if reverse else range(time)):
            if valid[t]:
                z = x[b, t] @ kernel + h @ recurrent_kernel + bias
                i, f, g, o = np.split(z, 4)
                c = activate(recurrent_activation, f) * c + activate(
                    recurrent_activation, i
                ) * activate(activation, g)
                h = activate(recurrent_activation, o) * activate(activation, c)
                previous = h
            elif zero_masked:
                previous = np.zeros(units, x.dtype)
            if out.shape[1]:
                out[b, position] = previous
        h_last[b], c_last[b] = h, c
