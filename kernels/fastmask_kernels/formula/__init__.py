"""A cell's formula as a graph: traced from a Python function, simplified, differentiated.

A formula is an ordinary function of sums, states and vectors that returns the new states:

    def lstm(i, f, g, o, h, c):
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

A sum is x W + h U + b of its own columns of the weights; called on a value, as in `n(r * h)`, it
takes that value in the place of h. `trace` runs the function once on symbols (`symbols`). What
comes of the graph is written once for every cell: values in NumPy (`evaluate`), the gradients and
what the forward pass has to save for them (`gradients`), and the code of the kernels.
"""

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
