"""Gradients of the LSTM; `backward` says how."""

from __future__ import annotations

from typing import Any

from ...checks import checked
from ..blas import multiply
from .backward import LSTM
from .gate_gradients import Cell, gate_gradients
from .gradients import Array, Inputs, activate, row_blocks, weight_gradients


@checked
def lstm_bwd(call: Any) -> None:
    """See `spec`."""
    inputs, dz = gate_gradients(call, Cell(LSTM, 0, [call.recurrent_kernel]), _compute_gates)
    weight_gradients(call, inputs, dz)


def _compute_gates(gates: Array, inputs: Inputs, call: Any) -> None:
    units = len(call.recurrent_kernel)
    for block in row_blocks(len(gates)):
        multiply(inputs.x_rows(block), call.kernel, gates[block])
        recurrent = multiply(inputs.states_before(block), call.recurrent_kernel)
        gates[block] += recurrent + call.bias
    activate(gates, 0, 2 * units, call.recurrent_activation)
    activate(gates, 2 * units, 3 * units, call.activation)
    activate(gates, 3 * units, 4 * units, call.recurrent_activation)
