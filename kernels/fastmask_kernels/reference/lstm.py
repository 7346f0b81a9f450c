"""LSTM (Hochreiter and Schmidhuber, 1997; forget gate of Gers et al., 2000), one step at a time.

i, f, g, o = x W + h U + b      in the gate order of Keras
c' = sigmoid(f) c + sigmoid(i) tanh(g)
h' = sigmoid(o) tanh(c')
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .activations import activate, slope
from .packing import pack, unpack
from .plans import checked
from .recurrent import States, Walk, run_backward, run_forward

Array = NDArray[np.floating]
Ints = NDArray[np.int64]


@checked
def lstm_pack(packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """See `spec`."""
    pack(packed, kernel, recurrent_kernel, bias)


def lstm_packed_size(features: int, units: int, dtype: np.dtype[np.floating]) -> int:  # noqa: ARG001 - layouts of other backends depend on it
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
    kernel, recurrent_kernel, bias = unpack("lstm", packed, x.shape[2], h_first.shape[1], 4)

    def step(x_t: Array, states: States) -> tuple[States, Array]:
        h, c = states
        z = x_t @ kernel + h @ recurrent_kernel + bias[0]
        activated = _activate(z, activation, recurrent_activation)
        i, f, g, o = np.split(activated, 4)
        c = f * c + i * g
        return (o * activate(activation, c), c), activated

    walk = Walk(x.shape[1], offsets, steps, reverse)
    run_forward(
        step,
        walk,
        out,
        (h_last, c_last),
        (h_steps, c_steps),
        gates,
        x,
        (h_first, c_first),
        zero_masked,
    )


@checked
def lstm_bwd(
    dx: Array,
    dkernel: Array,
    drecurrent_kernel: Array,
    dbias: Array,
    dh_first: Array,
    dc_first: Array,
    gates: Array,
    dout: Array,
    dh_last: Array,
    dc_last: Array,
    x: Array,
    offsets: Ints,
    steps: Ints,
    order: Ints,  # noqa: ARG001 - rows are independent
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    h_first: Array,
    c_first: Array,
    h_steps: Array,
    c_steps: Array,
    activation: str,
    recurrent_activation: str,
    gates_saved: bool,
    reverse: bool,
    zero_masked: bool,
    threads: int,  # noqa: ARG001 - a plain loop has one
) -> None:
    """See `spec`."""

    def step(
        p: int, x_t: Array, before: States, after: States, dafter: States
    ) -> tuple[States, Array, tuple[Array, ...]]:
        (h_before, c_before), (_, c), (dh, dc) = before, after, dafter
        if not gates_saved:
            z = x_t @ kernel + h_before @ recurrent_kernel + bias
            gates[p] = _activate(z, activation, recurrent_activation)
        i, f, g, o = np.split(gates[p].copy(), 4)
        y = activate(activation, c)
        dc = dc + dh * o * slope(activation, y)
        di, df, dg, do = dc * g, dc * c_before, dc * i, dh * y
        dz = np.concatenate(
            [
                di * slope(recurrent_activation, i),
                df * slope(recurrent_activation, f),
                dg * slope(activation, g),
                do * slope(recurrent_activation, o),
            ]
        )
        gates[p] = dz
        return (
            (recurrent_kernel @ dz, dc * f),
            kernel @ dz,
            (np.outer(x_t, dz), np.outer(h_before, dz), dz),
        )

    walk = Walk(x.shape[1], offsets, steps, reverse)
    run_backward(
        step,
        walk,
        dx,
        (dkernel, drecurrent_kernel, dbias),
        (dh_first, dc_first),
        dout,
        (dh_last, dc_last),
        x,
        (h_first, c_first),
        (h_steps, c_steps),
        zero_masked,
    )


def _activate(z: Array, activation: str, recurrent_activation: str) -> Array:
    """i, f, g, o of one step."""
    i, f, g, o = np.split(z, 4)
    return np.concatenate(
        [
            activate(recurrent_activation, i),
            activate(recurrent_activation, f),
            activate(activation, g),
            activate(recurrent_activation, o),
        ]
    )
