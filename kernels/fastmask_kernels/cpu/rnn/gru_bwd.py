"""Gradients of the GRU; `backward` says how.

Gates are saved in the order n, z, r, q, so that what meets the input (n, z, r) and what meets
the state (z, r, q with `reset_after`) are contiguous. Weights are in the order z, r, h.
"""

from __future__ import annotations

import numpy as np

from ...checks import checked
from ..blas import multiply, sum_columns
from .backward import GRU_RESET_AFTER, GRU_RESET_BEFORE
from .gate_gradients import Cell, gate_gradients
from .gradients import Array, Inputs, Ints, activate, input_gradient, row_blocks
from .ranks import check_plan


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
    order: Ints,
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
    threads: int,
) -> None:
    """See `spec`."""
    units = h_first.shape[1]
    check_plan(offsets, steps, order, x.shape[1])
    steps, dz = steps[: offsets[-1]], gates[: offsets[-1]]
    inputs = Inputs(x, h_first, h_steps, offsets, steps, reverse)
    if not gates_saved:
        functions = (activation, recurrent_activation)
        _compute_gates(dz, inputs, (kernel, recurrent_kernel, bias), functions, reset_after)
    parts = [recurrent_kernel]
    if not reset_after:
        parts = [recurrent_kernel[:, : 2 * units], recurrent_kernel[:, 2 * units :]]
    number = GRU_RESET_AFTER if reset_after else GRU_RESET_BEFORE
    cell = Cell(number, 1, parts, activation, recurrent_activation)
    gate_gradients(
        *(dz, dh_first, None, cell, dout, dh_last, h_steps, h_first),
        *((offsets, steps, order), x.shape[1], reverse, zero_masked, threads),
    )
    at_input, at_state = dz[:, : 3 * units], dz[:, units:]
    of_input = np.empty_like(dkernel)
    inputs.kernel_gradient(of_input, at_input)
    dkernel[:] = np.roll(of_input, -units, axis=1)
    if reset_after:
        inputs.recurrent_gradient(drecurrent_kernel, at_state)
    else:
        dn, dz_r, q = np.split(dz, [units, 3 * units], axis=1)
        inputs.recurrent_gradient(drecurrent_kernel[:, : 2 * units], dz_r)
        multiply(q.T, dn, drecurrent_kernel[:, 2 * units :])
    of_n, of_z_r, of_q = np.split(sum_columns(dz), [units, 3 * units])
    dbias[:, : 2 * units] = of_z_r
    dbias[0, 2 * units :] = of_n
    dbias[1, 2 * units :] = of_q if reset_after else of_n
    input_gradient(dx, at_input, np.roll(kernel, units, axis=1), steps)


def _compute_gates(
    gates: Array,
    inputs: Inputs,
    weights: tuple[Array, Array, Array],
    functions: tuple[str, str],
    reset_after: bool,
) -> None:
    """The gates of all steps, from the states before them."""
    (w_n, u_n, b_n), (w_z_r, u_z_r, b_z_r) = _by_gate(weights)
    activation, recurrent_activation = functions
    units = len(weights[1])
    for block in row_blocks(len(gates)):
        x_rows, h = inputs.x_rows(block), inputs.states_before(block)
        n, z_r, q = np.split(gates[block], [units, 3 * units], axis=1)
        z_r[:] = multiply(x_rows, w_z_r) + multiply(h, u_z_r) + b_z_r.sum(axis=0)
        activate(gates[block], units, 3 * units, recurrent_activation)
        r = z_r[:, units:]
        if reset_after:
            q[:] = multiply(h, u_n) + b_n[1]
            n[:] = multiply(x_rows, w_n) + b_n[0] + r * q
        else:
            q[:] = r * h
            n[:] = multiply(x_rows, w_n) + multiply(q, u_n) + b_n.sum(axis=0)
        activate(gates[block], 0, units, activation)


def _by_gate(weights: tuple[Array, Array, Array]) -> list[list[Array]]:
    """What belongs to n, and to z and r, of the kernel, the recurrent kernel and the bias."""
    edge = 2 * weights[1].shape[0]
    return [[w[:, edge:] for w in weights], [w[:, :edge] for w in weights]]
