"""GRU: K. Cho et al. (2014), in the two forms of Keras and with its order of gates.

With `reset_after`, as in cuDNN, the reset gate r is applied to the candidate's product with h:
the candidate has a sum of x alone, n, and one of h alone, q.
"""

from typing import Any

from ..formula import activation, recurrent_activation
from .cell import cell


@cell(x_only=("n",), h_only=("q",))
def gru(z: Any, r: Any, n: Any, q: Any, h: Any) -> Any:
    """The GRU with `reset_after`, Keras's default."""
    z, r = recurrent_activation(z), recurrent_activation(r)
    n = activation(n + r * q)
    return n + z * (h - n)


@cell
def gru_reset_before(z: Any, r: Any, n: Any, h: Any) -> Any:
    """The GRU of the paper: r is applied to h before its product."""
    z, r = recurrent_activation(z), recurrent_activation(r)
    n = activation(n(r * h))
    return n + z * (h - n)
