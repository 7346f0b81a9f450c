"""Gradients of the LSTM; `backward` says how."""

from __future__ import annotations

from ...checks import checked
from ..blas import multiply, sum_columns
from .backward import LSTM
from .gate_gradients import Cell, gate_gradients
from .gradients import Array, Inputs, Ints, activate, input_gradient, row_blocks
from .ranks import check_plan


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
    check_plan(offsets, steps, order, x.shape[1])
    steps, dz = steps[: offsets[-1]], gates[: offsets[-1]]
    inputs = Inputs(x, h_first, h_steps, offsets, steps, reverse)
    if not gates_saved:
        functions = (activation, recurrent_activation)
        _compute_gates(dz, inputs, (kernel, recurrent_kernel, bias), functions)
    cell = Cell(LSTM, 0, [recurrent_kernel], activation, recurrent_activation)
    gate_gradients(
        *(dz, dh_first, (dc_first, dc_last), cell, dout, dh_last, c_steps, c_first),
        *((offsets, steps, order), x.shape[1], reverse, zero_masked, threads),
    )
    inputs.kernel_gradient(dkernel, dz)
    inputs.recurrent_gradient(drecurrent_kernel, dz)
    dbias[:] = sum_columns(dz)
    input_gradient(dx, dz, kernel, steps)


def _compute_gates(
    gates: Array,
    inputs: Inputs,
    weights: tuple[Array, Array, Array],
    functions: tuple[str, str],
) -> None:
    """The gates of all steps, from the states before them."""
    kernel, recurrent_kernel, bias = weights
    activation, recurrent_activation = functions
    units = len(recurrent_kernel)
    for block in row_blocks(len(gates)):
        multiply(inputs.x_rows(block), kernel, gates[block])
        gates[block] += multiply(inputs.states_before(block), recurrent_kernel) + bias
    activate(gates, 0, 2 * units, recurrent_activation)
    activate(gates, 2 * units, 3 * units, activation)
    activate(gates, 3 * units, 4 * units, recurrent_activation)
