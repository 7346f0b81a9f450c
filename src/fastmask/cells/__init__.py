"""Recurrent cells made from one formula each, and the functions to write more of them.

    @fastmask.cell
    def lstm(i, f, g, o, h, c):
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

See `fastmask.cell`. The functions that formulas apply are sigmoid, tanh, relu, hard_sigmoid, exp,
maximum, minimum and normalize.
"""

from fastmask_kernels import cells as _kernels
from fastmask_kernels.formula import (
    exp,
    hard_sigmoid,
    maximum,
    minimum,
    normalize,
    relu,
    sigmoid,
    tanh,
)
from fastmask_kernels.names import dir_of

from ._cell import Cell, cell
from ._cell import known_cell as known_cell
from .coupled_lstm import coupled_lstm
from .ind_rnn import ind_rnn
from .layer_norm_lstm import layer_norm_lstm
from .minimal_gated_unit import minimal_gated_unit
from .peephole_lstm import peephole_lstm

lstm = Cell.of(_kernels.lstm)
gru = Cell.of(_kernels.gru)
gru_reset_before = Cell.of(_kernels.gru_reset_before)
simple_rnn = Cell.of(_kernels.simple_rnn)

CELLS: dict[str, Cell] = {
    one.name: one
    for one in (
        *(lstm, gru, gru_reset_before, simple_rnn),
        *(coupled_lstm, ind_rnn, layer_norm_lstm, minimal_gated_unit, peephole_lstm),
    )
}
"""The cells of this package by name, which tests cover and model files may name."""

__all__ = [
    "CELLS",
    "Cell",
    "cell",
    "coupled_lstm",
    "exp",
    "gru",
    "gru_reset_before",
    "hard_sigmoid",
    "ind_rnn",
    "layer_norm_lstm",
    "lstm",
    "maximum",
    "minimal_gated_unit",
    "minimum",
    "normalize",
    "peephole_lstm",
    "relu",
    "sigmoid",
    "simple_rnn",
    "tanh",
]

__dir__ = dir_of(__name__)
