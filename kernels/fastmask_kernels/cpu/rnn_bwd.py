"""Gradients of the SimpleRNN; `backward` says how."""

from __future__ import annotations

from .._checked import checked
from .backward import RNN
from .blas import multiply, sum_columns
from .gate_gradients import Cell, gate_gradients
from .gradients import Array, Ints, input_gradient, states_before, valid_rows
from .ranks import ranks_of


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
    ranks = ranks_of(offsets, steps, order, x.shape[1])
    steps, dz = steps[: offsets[-1]], gates[: offsets[-1]]
    cell = Cell(RNN, 0, [recurrent_kernel], activation, "sigmoid")  # which it does not have
    gate_gradients(
        *(dz, dh_first, None, cell, dout, dh_last, h_steps, h_first, steps, ranks),
        *(x.shape[1], reverse, zero_masked, threads),
    )
    multiply(valid_rows(x, steps).T, dz, dkernel)
    multiply(states_before(h_first, h_steps, offsets, reverse).T, dz, drecurrent_kernel)
    dbias[:] = sum_columns(dz)
    input_gradient(dx, dz, kernel, steps)
