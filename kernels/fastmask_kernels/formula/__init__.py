"""A cell's formula as a graph: traced from a Python function, simplified, differentiated.

A formula is an ordinary function of sums, states and vectors that returns the new states:

    def lstm(i, f, g, o, h, c):
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

A sum is x W + h U + b with its own columns of the weights; called on a value, as in `n(r * h)`, it
takes that value instead of h. `trace` runs the function once on symbols (`symbols`). Everything
that follows from the graph is written once for all cells: values in NumPy (`evaluate`), the
gradients and what the forward pass has to save for them (`gradients`), and the kernels' code.
"""

from ..names import dir_of
from .evaluate import evaluate
from .gradients import Gradients, saved
from .symbols import (
    Symbol,
    activation,
    exp,
    hard_sigmoid,
    maximum,
    minimum,
    normalize,
    recurrent_activation,
    relu,
    sigmoid,
    tanh,
    walk,
)
from .trace import Formula, trace, with_line

__all__ = [
    "Formula",
    "Gradients",
    "Symbol",
    "activation",
    "evaluate",
    "exp",
    "hard_sigmoid",
    "maximum",
    "minimum",
    "normalize",
    "recurrent_activation",
    "relu",
    "saved",
    "sigmoid",
    "tanh",
    "trace",
    "walk",
    "with_line",
]

__dir__ = dir_of(__name__)
