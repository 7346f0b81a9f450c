"""A GRU with one gate.

G.-B. Zhou et al., "Minimal Gated Unit for Recurrent Neural Networks", 2016.
"""

from typing import Any

from fastmask_kernels.formula import sigmoid, tanh

from ._cell import cell


@cell
def minimal_gated_unit(f: Any, n: Any, h: Any) -> Any:
    """The gate f both resets the state, before its product in n, and updates it."""
    f = sigmoid(f)
    return (1 - f) * h + f * tanh(n(f * h))
