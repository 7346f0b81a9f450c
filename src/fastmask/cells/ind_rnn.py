"""An RNN whose units do not see each other.

S. Li et al., "Independently Recurrent Neural Network (IndRNN): Building A Longer and Deeper RNN",
2018.
"""

from typing import Any

from fastmask_kernels.formula import relu

from ._cell import cell


@cell(x_only=("s",))
def ind_rnn(s: Any, h: Any, *, u: Any) -> Any:
    """Each unit has one recurrent weight, for its own state: there is no recurrent kernel."""
    return relu(s + u * h)
