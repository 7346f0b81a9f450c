"""LSTM: S. Hochreiter and J. Schmidhuber (1997), with the forget gate of F. A. Gers et al. (2000).

The gates are in Keras's order.
"""

from typing import Any

from ..formula import activation, recurrent_activation
from .cell import cell


@cell
def lstm(i: Any, f: Any, g: Any, o: Any, h: Any, c: Any) -> Any:
    """Input, forget and output gates, and the candidate g."""
    i, f, o = recurrent_activation(i), recurrent_activation(f), recurrent_activation(o)
    c = f * c + i * activation(g)
    return o * activation(c), c
