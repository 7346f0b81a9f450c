"""Gradients of the SimpleRNN; `backward` says how."""

from __future__ import annotations

from typing import Any

from ...checks import checked
from .backward import RNN
from .gate_gradients import Cell, gate_gradients
from .gradients import weight_gradients


@checked
def rnn_bwd(call: Any) -> None:
    """See `spec`."""
    weight_gradients(call, *gate_gradients(call, Cell(RNN, 0, [call.recurrent_kernel]), None))
