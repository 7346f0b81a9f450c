"""The usual way to run a masked LSTM in NumPy: all steps of the padded batch, then `where`.

The demo compares fastmask with it. It does what NumPy does well: the product of all inputs with
the input weights is one call, and each step treats the whole batch at once.
"""

from __future__ import annotations

import numpy as np

from .._typing import Array, Bools
from ..activations import sigmoid, softmax


def lstm(x: Array, mask: Bools, kernel: Array, recurrent_kernel: Array, bias: Array) -> Array:
    """Outputs of all steps; arguments as in `fastmask.ops.lstm`."""
    batch, time, features = x.shape
    units = len(recurrent_kernel)
    projected = (x.reshape(-1, features) @ kernel + bias).reshape(batch, time, 4 * units)
    h = np.zeros((batch, units), x.dtype)
    c = np.zeros((batch, units), x.dtype)
    outputs = np.empty((batch, time, units), x.dtype)
    for t in range(time):
        i, f, g, o = np.split(projected[:, t] + h @ recurrent_kernel, 4, axis=1)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * np.tanh(new_c)
        valid = mask[:, t, None]
        c, h = np.where(valid, new_c, c), np.where(valid, new_h, h)
        outputs[:, t] = h
    return outputs


def classify(x: Array, weights: list[Array]) -> Array:
    """Masking, LSTM, LSTM, Dense with softmax: the demo's model, with its weights in one list."""
    mask = (x != 0).any(axis=-1)
    first, second, (kernel, bias) = weights[:3], weights[3:6], weights[6:]
    last = lstm(lstm(x, mask, *first), mask, *second)[:, -1]
    return softmax(last @ kernel + bias)
