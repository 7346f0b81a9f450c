"""GRU (Cho et al., 2014), one step at a time, with the gates and the two forms of Keras.

z, r = sigmoid(x W_z + h U_z + b_z), sigmoid(x W_r + h U_r + b_r)
q  = h U_h + b_h'                      with reset_after
n  = tanh(x W_h + b_h + r q)
q  = r h                               without
n  = tanh(x W_h + b_h + q U_h + b_h')
h' = z h + (1 - z) n

b_h is in row 0 of the bias and b_h' in row 1; elsewhere b is the sum of the two rows.
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
def gru_pack(
    packed: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    reset_after: bool,  # noqa: ARG001 - layouts of other backends depend on it
) -> None:
    """See `spec`."""
    pack(packed, kernel, recurrent_kernel, bias)


def gru_packed_size(features: int, units: int, dtype: np.dtype[np.floating]) -> int:  # noqa: ARG001 - layouts of other backends depend on it
    """Length of `packed`."""
    return (features + units + 2) * 3 * units


@checked
def gru_fwd(
    out: Array,
    h_last: Array,
    h_steps: Array,
    gates: Array,
    x: Array,
    offsets: Ints,
    steps: Ints,
    order: Ints,  # noqa: ARG001 - rows are independent
    packed: Array,
    h_first: Array,
    activation: str,
    recurrent_activation: str,
    reset_after: bool,
    reverse: bool,
    zero_masked: bool,
    threads: int,  # noqa: ARG001 - a plain loop has one
) -> None:
    """See `spec`."""
    weights = unpack("gru", packed, x.shape[2], h_first.shape[1], 3, biases=2)

    def step(x_t: Array, states: States) -> tuple[States, Array]:
        (h,) = states
        activated = _activated(x_t, h, weights, activation, recurrent_activation, reset_after)
        n, z, _, _ = np.split(activated, 4)
        return (z * h + (1 - z) * n,), activated

    walk = Walk(x.shape[1], offsets, steps, reverse)
    run_forward(step, walk, out, (h_last,), (h_steps,), gates, x, (h_first,), zero_masked)


@checked
def gru_bwd(
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
    bias: Array,
    h_first: Array,
    h_steps: Array,
    activation: str,
    recurrent_activation: str,
    gates_saved: bool,
    reset_after: bool,
    reverse: bool,
    zero_masked: bool,
    threads: int,  # noqa: ARG001 - a plain loop has one
) -> None:
    """See `spec`. U_h is multiplied by `operand`: h with reset_after, else r h."""
    weights = kernel, recurrent_kernel, bias
    u_z, u_r, u_h = np.split(recurrent_kernel, 3, axis=1)

    def step(
        p: int, x_t: Array, before: States, _: States, dafter: States
    ) -> tuple[States, Array, tuple[Array, ...]]:
        (h,), (dh,) = before, dafter
        if not gates_saved:
            gates[p] = _activated(x_t, h, weights, activation, recurrent_activation, reset_after)
        n, z, r, q = np.split(gates[p].copy(), 4)
        dn = dh * (1 - z) * slope(activation, n)
        dz = dh * (h - n) * slope(recurrent_activation, z)
        if reset_after:
            operand, dproduct = h, dn * r
            doperand = u_h @ dproduct
            dr, dh_n = dn * q, doperand
        else:
            operand, dproduct = q, dn
            doperand = u_h @ dproduct
            dr, dh_n = doperand * h, doperand * r
        dr = dr * slope(recurrent_activation, r)
        gates[p] = np.concatenate([dn, dz, dr, dproduct if reset_after else q])

        dinput = np.concatenate([dz, dr, dn])
        dstate = np.concatenate([dz, dr, dproduct])
        drecurrent = [np.outer(h, dz), np.outer(h, dr), np.outer(operand, dproduct)]
        return (
            (dh * z + u_z @ dz + u_r @ dr + dh_n,),
            kernel @ dinput,
            (np.outer(x_t, dinput), np.hstack(drecurrent), np.stack([dinput, dstate])),
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


def _activated(
    x_t: Array,
    h: Array,
    weights: tuple[Array, Array, Array],
    activation: str,
    recurrent_activation: str,
    reset_after: bool,
) -> Array:
    """n, z, r, q of one step."""
    kernel, recurrent_kernel, bias = weights
    u_z, u_r, u_h = np.split(recurrent_kernel, 3, axis=1)
    x_z, x_r, x_h = np.split(x_t @ kernel + bias[0], 3)
    b_z, b_r, b_h = np.split(bias[1], 3)
    z = activate(recurrent_activation, x_z + h @ u_z + b_z)
    r = activate(recurrent_activation, x_r + h @ u_r + b_r)
    if reset_after:
        q = h @ u_h + b_h
        n = activate(activation, x_h + r * q)
    else:
        q = r * h
        n = activate(activation, x_h + q @ u_h + b_h)
    return np.concatenate([n, z, r, q])
