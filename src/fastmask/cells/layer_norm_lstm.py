"""LSTM with layer normalization: J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016.

Here the parts of x and of h are normalized together, not each by itself.
"""

# fmt: off
from typing import Any

from fastmask_kernels.formula import normalize, sigmoid, tanh

from ._cell import cell


@cell
def layer_norm_lstm(
    i: Any, f: Any, g: Any, o: Any, h: Any, c: Any, *,
    gain_i: Any = 1.0, gain_f: Any = 1.0, gain_g: Any = 1.0, gain_o: Any = 1.0, gain_c: Any = 1.0,
    shift_i: Any = 0.0, shift_f: Any = 0.0, shift_g: Any = 0.0, shift_o: Any = 0.0,
    shift_c: Any = 0.0,
) -> Any:
    """LSTM of normalized sums and a normalized memory cell, each with a gain and a shift."""
    i, f, g, o = normalize(i, f, g, o)
    c = sigmoid(gain_f * f + shift_f) * c + (
        sigmoid(gain_i * i + shift_i) * tanh(gain_g * g + shift_g)
    )
    return sigmoid(gain_o * o + shift_o) * tanh(gain_c * normalize(c) + shift_c), c
