"""Gradients of the GRU; `backward` says how.

Gates are saved in the order n, z, r, q, so that what meets the input (n, z, r) and what meets
the state (z, r, q with `reset_after`) are contiguous. Weights are in the order z, r, h.
"""

from __future__ import annotations

import numpy as np

from .._checked import checked
from .backward import GRU_RESET_AFTER, GRU_RESET_BEFORE
from .gate_gradients import Cell, gate_gradients
from .gradients import (
    Array,
    Ints,
    activate,
    column_sums,
    input_gradient,
    row_blocks,
    states_before,
    valid_rows,
)
from .ranks import ranks_of


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
    ranks = ranks_of(offsets, steps, order, x.shape[1])
    steps, dz = steps[: offsets[-1]], gates[: offsets[-1]]
    x_rows = valid_rows(x, steps)
    before = states_before(h_first, h_steps, offsets, reverse)
    if not gates_saved:
        weights = (kernel, recurrent_kernel, bias)
        functions = (activation, recurrent_activation)
        for block in row_blocks(len(dz)):
            _compute_gates(dz[block], x_rows[block], before[block], weights, functions, reset_after)
    parts = [recurrent_kernel]
    if not reset_after:
        parts = [recurrent_kernel[:, : 2 * units], recurrent_kernel[:, 2 * units :]]
    number = GRU_RESET_AFTER if reset_after else GRU_RESET_BEFORE
    cell = Cell(number, 1, parts, activation, recurrent_activation)
    gate_gradients(
        *(dz, dh_first, None, cell, dout, dh_last, h_steps, h_first, steps, ranks),
        *(x.shape[1], reverse, zero_masked, threads),
    )
    dn, dz_r, q = np.split(dz, [units, 3 * units], axis=1)
    np.matmul(x_rows.T, dz_r, out=dkernel[:, : 2 * units])
    np.matmul(x_rows.T, dn, out=dkernel[:, 2 * units :])
    np.matmul(before.T, dz_r, out=drecurrent_kernel[:, : 2 * units])
    np.matmul(*((before.T, q) if reset_after else (q.T, dn)), out=drecurrent_kernel[:, 2 * units :])
    of_n, of_z_r, of_q = np.split(column_sums(dz), [units, 3 * units])
    dbias[:, : 2 * units] = of_z_r
    dbias[0, 2 * units :] = of_n
    dbias[1, 2 * units :] = of_q if reset_after else of_n
    input_gradient(dx, dz[:, : 3 * units], np.roll(kernel, units, axis=1), steps)


def _compute_gates(
    gates: Array,
    x: Array,
    before: Array,
    weights: tuple[Array, Array, Array],
    functions: tuple[str, str],
    reset_after: bool,
) -> None:
    """The gates of a block of steps, from the states before them."""
    (w_n, u_n, b_n), (w_z_r, u_z_r, b_z_r) = _by_gate(weights)
    activation, recurrent_activation = functions
    units = before.shape[1]
    n, _, r, q = np.split(gates, 4, axis=1)
    gates[:, units : 3 * units] = x @ w_z_r + before @ u_z_r + b_z_r.sum(axis=0)
    activate(gates, units, 3 * units, recurrent_activation)
    if reset_after:
        q[:] = before @ u_n + b_n[1]
        n[:] = x @ w_n + b_n[0] + r * q
    else:
        q[:] = r * before
        n[:] = x @ w_n + q @ u_n + b_n.sum(axis=0)
    activate(gates, 0, units, activation)


def _by_gate(weights: tuple[Array, Array, Array]) -> list[list[Array]]:
    """What belongs to n, and to z and r, of the kernel, the recurrent kernel and the bias."""
    edge = 2 * weights[1].shape[0]
    return [[w[:, edge:] for w in weights], [w[:, :edge] for w in weights]]
