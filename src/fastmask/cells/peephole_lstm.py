"""LSTM whose gates look at the memory cell.

F. A. Gers and J. Schmidhuber, "Recurrent Nets that Time and Count", 2000.
"""

from typing import Any

from fastmask_kernels.formula import sigmoid, tanh

from ._cell import cell


@cell
def peephole_lstm(
    i: Any, f: Any, g: Any, o: Any, h: Any, c: Any, *, p_i: Any, p_f: Any, p_o: Any
) -> Any:
    """LSTM with peepholes: input and forget gate see c before the step, the output gate after."""
    i, f = sigmoid(i + p_i * c), sigmoid(f + p_f * c)
    c = f * c + i * tanh(g)
    return sigmoid(o + p_o * c) * tanh(c), c
