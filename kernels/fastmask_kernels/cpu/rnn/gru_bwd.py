"""Gradients of the GRU; `backward` says how.

Gates are saved in the order n, z, r, q, so that what meets the input (n, z, r) and what meets
the state (z, r, q with `reset_after`) are contiguous. Weights are in the order z, r, h.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...checks import checked
from ..blas import multiply, sum_columns
from .backward import GRU_RESET_AFTER, GRU_RESET_BEFORE
from .gate_gradients import Cell, gate_gradients
from .gradients import Array, Inputs, activate, input_gradient, row_blocks


@checked
def gru_bwd(call: Any) -> None:
    """See `spec`."""
    units, recurrent = call.h_first.shape[1], call.recurrent_kernel
    cell = Cell(GRU_RESET_AFTER, 1, [recurrent])
    if not call.reset_after:
        cell = Cell(GRU_RESET_BEFORE, 1, [recurrent[:, : 2 * units], recurrent[:, 2 * units :]])
    inputs, dz = gate_gradients(call, cell, _compute_gates)
    at_input, at_state = dz[:, : 3 * units], dz[:, units:]
    of_input = np.empty_like(call.dkernel)
    inputs.kernel_gradient(of_input, at_input)
    call.dkernel[:] = np.roll(of_input, -units, axis=1)
    if call.reset_after:
        inputs.recurrent_gradient(call.drecurrent_kernel, at_state)
    else:
        dn, dz_r, q = np.split(dz, [units, 3 * units], axis=1)
        inputs.recurrent_gradient(call.drecurrent_kernel[:, : 2 * units], dz_r)
        multiply(q.T, dn, call.drecurrent_kernel[:, 2 * units :])
    of_n, of_z_r, of_q = np.split(sum_columns(dz), [units, 3 * units])
    call.dbias[:, : 2 * units] = of_z_r
    call.dbias[0, 2 * units :] = of_n
    call.dbias[1, 2 * units :] = of_q if call.reset_after else of_n
    input_gradient(call.dx, at_input, np.roll(call.kernel, units, axis=1), inputs.steps)


def _compute_gates(gates: Array, inputs: Inputs, call: Any) -> None:
    (w_n, u_n, b_n), (w_z_r, u_z_r, b_z_r) = _by_gate(call)
    units = len(call.recurrent_kernel)
    for block in row_blocks(len(gates)):
        x_rows, h = inputs.x_rows(block), inputs.states_before(block)
        n, z_r, q = np.split(gates[block], [units, 3 * units], axis=1)
        z_r[:] = multiply(x_rows, w_z_r) + multiply(h, u_z_r) + b_z_r.sum(axis=0)
        activate(gates[block], units, 3 * units, call.recurrent_activation)
        r = z_r[:, units:]
        if call.reset_after:
            q[:] = multiply(h, u_n) + b_n[1]
            n[:] = multiply(x_rows, w_n) + b_n[0] + r * q
        else:
            q[:] = r * h
            n[:] = multiply(x_rows, w_n) + multiply(q, u_n) + b_n.sum(axis=0)
        activate(gates[block], 0, units, call.activation)


def _by_gate(call: Any) -> list[list[Array]]:
    """What belongs to n, and to z and r, of the kernel, the recurrent kernel and the bias."""
    weights, edge = (call.kernel, call.recurrent_kernel, call.bias), 2 * len(call.recurrent_kernel)
    return [[w[:, edge:] for w in weights], [w[:, :edge] for w in weights]]
