"""Gradients of the SimpleRNN; `backward` says how."""

from __future__ import annotations

from ...checks import checked
from ..blas import sum_columns
from .backward import RNN
from .gate_gradients import Cell, gate_gradients
from .gradients import Array, Inputs, Ints, input_gradient
from .ranks import check_plan


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
    order: Ints,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    h_first: Array,
    h_steps: Array,
    activation: str,
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """See `spec`."""
    check_plan(offsets, steps, order, x.shape[1])
    steps, dz = steps[: offsets[-1]], gates[: offsets[-1]]
    inputs = Inputs(x, h_first, h_steps, offsets, steps, reverse)
    cell = Cell(RNN, 0, [recurrent_kernel], activation, "sigmoid")  # which it does not have
    gate_gradients(
        *(dz, dh_first, None, cell, dout, dh_last, h_steps, h_first),
        *((offsets, steps, order), x.shape[1], reverse, zero_masked, threads),
    )
    inputs.kernel_gradient(dkernel, dz)
    inputs.recurrent_gradient(drecurrent_kernel, dz)
    dbias[:] = sum_columns(dz)
    input_gradient(dx, dz, kernel, steps)
