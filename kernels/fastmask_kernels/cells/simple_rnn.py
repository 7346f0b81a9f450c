"""SimpleRNN: J. L. Elman, "Finding structure in time" (1990)."""

from typing import Any

from ..formula import activation
from .cell import cell


@cell
def simple_rnn(s: Any, h: Any) -> Any:
    """One sum, and its activation."""
    return activation(s)
