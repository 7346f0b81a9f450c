"""SimpleRNN (Elman, 1990), one step at a time: h' = tanh(x W + h U + b)."""

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
def rnn_pack(packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """See `spec`."""
    pack(packed, kernel, recurrent_kernel, bias)


def rnn_packed_size(features: int, units: int, dtype: np.dtype[np.floating]) -> int:  # noqa: ARG001 - layouts of other backends depend on it
    """Length of `packed`."""
    return (features + units + 1) * units


@checked
def rnn_fwd(
    out: Array,
    h_last: Array,
    h_steps: Array,
    x: Array,
    offsets: Ints,
    steps: Ints,
    order: Ints,  # noqa: ARG001 - rows are independent
    packed: Array,
    h_first: Array,
    activation: str,
    reverse: bool,
    zero_masked: bool,
    threads: int,  # noqa: ARG001 - a plain loop has one
) -> None:
    """See `spec`."""
    kernel, recurrent_kernel, bias = unpack("rnn", packed, x.shape[2], h_first.shape[1], 1)

    def step(x_t: Array, states: States) -> tuple[States, Array]:
        (h,) = states
        h = activate(activation, x_t @ kernel + h @ recurrent_kernel + bias[0])
        return (h,), h

    walk = Walk(x.shape[1], offsets, steps, reverse)
    no_gates = h_steps[:0]
    run_forward(step, walk, out, (h_last,), (h_steps,), no_gates, x, (h_first,), zero_masked)


@checked
def rnn_bwd(
    dx: Array,
    dkernel: Array,
    drecurrent_kernel: Array,
    dbias: Array,
    dh_first: Array,
    gates: Array,
    dout: Array,
    dh_last: Array,
    x: Array,
    offsets: Ints,
    steps: Ints,
    order: Ints,  # noqa: ARG001 - rows are independent
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,  # noqa: ARG001 - the output alone gives the derivative
    h_first: Array,
    h_steps: Array,
    activation: str,
    reverse: bool,
    zero_masked: bool,
    threads: int,  # noqa: ARG001 - a plain loop has one
) -> None:
    """See `spec`."""

    def step(
        p: int, x_t: Array, before: States, after: States, dafter: States
    ) -> tuple[States, Array, tuple[Array, ...]]:
        (h_before,), (h,), (dh,) = before, after, dafter
        dz = dh * slope(activation, h)
        gates[p] = dz
        return (
            (recurrent_kernel @ dz,),
            kernel @ dz,
            (np.outer(x_t, dz), np.outer(h_before, dz), dz),
        )

    walk = Walk(x.shape[1], offsets, steps, reverse)
    run_backward(
        step,
        walk,
        dx,
        (dkernel, drecurrent_kernel, dbias),
        (dh_first,),
        dout,
        (dh_last,),
        x,
        (h_first,),
        (h_steps,),
        zero_masked,
    )
