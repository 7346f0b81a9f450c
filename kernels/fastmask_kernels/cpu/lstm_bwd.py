"""Gradients of the LSTM; `backward` says how."""

from __future__ import annotations

from .._checked import checked
from .backward import LSTM
from .blas import multiply, sum_columns
from .gate_gradients import Cell, gate_gradients
from .gradients import (
    Array,
    Ints,
    activate,
    input_gradient,
    row_blocks,
    states_before,
    valid_rows,
)
from .ranks import ranks_of


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
    order: Ints,
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
    threads: int,
) -> None:
    """See `spec`."""
    ranks = ranks_of(offsets, steps, order, x.shape[1])
    steps, dz = steps[: offsets[-1]], gates[: offsets[-1]]
    if not gates_saved:
        _compute_gates(
            dz,
            valid_rows(x, steps),
            states_before(h_first, h_steps, offsets, reverse),
            (kernel, recurrent_kernel, bias),
            (activation, recurrent_activation),
        )
    cell = Cell(LSTM, 0, [recurrent_kernel], activation, recurrent_activation)
    dc_first[:] = dc_last
    gate_gradients(
        *(dz, dh_first, dc_first, cell, dout, dh_last, c_steps, c_first, steps, ranks),
        *(x.shape[1], reverse, zero_masked, threads),
    )
    multiply(valid_rows(x, steps).T, dz, dkernel)
    multiply(states_before(h_first, h_steps, offsets, reverse).T, dz, drecurrent_kernel)
    dbias[:] = sum_columns(dz)
    input_gradient(dx, dz, kernel, steps)


def _compute_gates(
    gates: Array,
    x: Array,
    before: Array,
    weights: tuple[Array, Array, Array],
    functions: tuple[str, str],
) -> None:
    """The gates of all steps at once, from the states before them."""
    kernel, recurrent_kernel, bias = weights
    activation, recurrent_activation = functions
    units = before.shape[1]
    for block in row_blocks(len(gates)):
        multiply(x[block], kernel, gates[block])
        gates[block] += multiply(before[block], recurrent_kernel) + bias
    activate(gates, 0, 2 * units, recurrent_activation)
    activate(gates, 2 * units, 3 * units, activation)
    activate(gates, 3 * units, 4 * units, recurrent_activation)
