"""`fastmask.cell`: recurrent cells made from the user's formulas."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any, overload

import numpy as np

from fastmask_kernels import cells as _cells

from ..layers._own_cell import OwnCell, class_of

Function = Callable[..., Any]
_LARGEST = float(np.finfo(np.float32).max)


class Cell(_cells.Cell):
    """A recurrent cell made from a formula; see `fastmask.cell`.

    Called with the number of units, and options, it makes a cell for `fastmask.layers.RNN`.

    Args:
        function: the formula.
        x_only: names of the sums without h.
        h_only: names of the sums without x.

    Attributes:
        sums: names of the sums, in the order of the weights' columns.
        states: names of the states; the first one is the output.
        vectors: names of the vectors.
    """

    def __init__(
        self, function: Function, x_only: Collection[str] = (), h_only: Collection[str] = ()
    ) -> None:
        super().__init__(function, x_only, h_only)
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__
        self.__name__ = self.name
        defaults = getattr(function, "__kwdefaults__", None) or {}
        self.first_values = {name: self._first(name, one) for name, one in defaults.items()}
        _known[self.key] = self

    def _first(self, name: str, value: Any) -> float:
        if not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{self.name}: {name} must begin as a number, not {value!r}")
        number: Any = value
        if not -_LARGEST <= number <= _LARGEST:
            raise ValueError(f"{self.name}: {name} must begin as a finite number, not {value!r}")
        return float(number)

    @classmethod
    def of(cls, known: _cells.Cell) -> Cell:
        """The cell that the kernels know already."""
        formula = known.formula
        cell = cls(known.function, formula.x_only, formula.h_only)
        cell.__module__ = __package__ or ""  # where pickle finds it
        return cell

    @property
    def key(self) -> str:
        """Name and digest of the formula: the same in every process."""
        return f"{self.name} {self.digest}"

    @cached_property
    def layer_class(self) -> type[OwnCell]:
        """The class of the layers that the cell makes."""
        return class_of(self, self.first_values)

    def __call__(self, units: int, **options: Any) -> OwnCell:
        """A cell with weights, for `fastmask.layers.RNN`.

        Args:
            units: size H of the output and of every state.
            **options: `use_bias`, `kernel_initializer`, `recurrent_initializer`,
                `bias_initializer`, `vector_initializer` for vectors that the formula gives no
                first value, `dropout`, `recurrent_dropout`, of what is multiplied by U, and
                `seed`, as those of `fastmask.layers.LSTMCell`; `name`, `dtype` and others, see
                `fastmask.layers.Layer`.

        Raises:
            TypeError: an option is unknown or of a wrong kind.
            ValueError: an option is out of range.
        """
        return self.layer_class(units, **options)

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by its name, like a function


_known: dict[str, Cell] = {}


def known_cell(key: str) -> Cell | None:
    """The cell made last with this key."""
    return _known.get(key)


@overload
def cell(function: Function, /) -> Cell: ...
@overload
def cell(
    *, x_only: Collection[str] = (), h_only: Collection[str] = ()
) -> Callable[[Function], Cell]: ...
def cell(
    function: Function | None = None,
    /,
    *,
    x_only: Collection[str] = (),
    h_only: Collection[str] = (),
) -> Cell | Callable[[Function], Cell]:
    """Make a recurrent cell from a formula; a decorator, with or without arguments.

    The formula is a function of sums, then of states, as many as it returns, and then, after a `*`,
    of vectors. A sum is x W + h U + b with its own columns of the weights, which are in the order
    of the arguments; x itself is not available. A vector is a weight with one number per unit; its
    default is the initial value, and without one it begins at random, as torch's recurrent weights
    do in `fastmask.torch.Recurrent`, and by `vector_initializer` in `fastmask.layers.RNN`.
    The formula returns the new states; the first one is the output, and is called h here. It may
    use + - * /, powers with whole numbers, also negative ones, and the functions of
    `fastmask.cells`, and is called once, on symbols: kernels for every backend, and gradients, are
    generated from what it does with them.

    A sum that is called on a value, as in `n(r * h)`, takes that value in place of h.

    Args:
        function: the formula.
        x_only: names of the sums without h, which have no columns in U.
        h_only: names of the sums without x, which have no columns in W.

    Returns:
        A `fastmask.cells.Cell`, which `fastmask.torch.Recurrent` takes; called with the number of
        units, it gives a cell for `fastmask.layers.RNN`.

    Raises:
        TypeError: it branches on a value, applies a function that is not of `fastmask.cells`, or
            returns something else than values; the message shows the line.
        ValueError: a sum or vector is not used, the numbers of states do not agree, or a name is
            not possible, such as `x` or, for a sum, `h`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> from fastmask.cells import sigmoid, tanh
        >>> @fm.cell
        ... def peephole(i, f, g, o, h, c, *, p_i, p_f, p_o):
        ...     c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
        ...     return sigmoid(o + p_o * c) * tanh(c), c
        >>> peephole.sums, peephole.states, peephole.vectors
        (('i', 'f', 'g', 'o'), ('h', 'c'), ('p_i', 'p_f', 'p_o'))
        >>> layer = fm.layers.RNN(peephole(8), return_sequences=True)
        >>> y = layer(np.ones((2, 5, 3)), mask=[[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
        >>> y.shape, [weight.shape for weight in layer.get_weights()]
        ((2, 5, 8), [(3, 32), (8, 32), (32,), (8,), (8,), (8,)])
    """
    if function is not None:
        return Cell(function)
    return lambda function: Cell(function, x_only, h_only)
