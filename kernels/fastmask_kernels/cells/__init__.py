"""Recurrent cells, each a formula of a few lines; `cell` makes more.

    @cell
    def lstm(i, f, g, o, h, c):
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

Every backend's kernels of a cell come from its formula; see `cell.Cell`.
"""

from ..names import dir_of
from .cell import Cell, cell
from .cell import require_cell as require_cell
from .gru import gru, gru_reset_before
from .lstm import lstm
from .simple_rnn import simple_rnn

__all__ = ["Cell", "cell", "gru", "gru_reset_before", "lstm", "simple_rnn"]

__dir__ = dir_of(__name__)
