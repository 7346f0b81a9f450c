"""LSTM that forgets as much as it takes in.

K. Greff et al., "LSTM: A Search Space Odyssey", 2017: the variant CIFG, coupled input and forget
gate.
"""

from typing import Any

from fastmask_kernels.formula import sigmoid, tanh

from ._cell import cell


@cell
def coupled_lstm(f: Any, g: Any, o: Any, h: Any, c: Any) -> Any:
    """LSTM with an input gate of 1 - f."""
    f = sigmoid(f)
    c = f * c + (1 - f) * tanh(g)
    return sigmoid(o) * tanh(c), c
