"""The values of a formula, and the functions that can be applied to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import index
from typing import Any

import numpy as np

EPSILON = 1e-3
"""Added to the variance in `normalize`, as Keras's LayerNormalization does."""

MOST_DEEP = 128
"""The longest chain of operations that a formula may have: code that walks it, or its gradients,
recurses for each."""


def _no_function(name: str) -> TypeError:
    return TypeError(
        f"{name} cannot be applied to a value of a formula: "
        "fastmask.cells has the functions that can"
    )


def _operator(op: str) -> tuple[Callable[..., Symbol], Callable[..., Symbol]]:
    """The two methods of a binary operator, with the symbol as its left or its right operand."""

    def before(self: Symbol, other: Any) -> Symbol:
        return self._graph.binary(op, self, other)

    def behind(self: Symbol, other: Any) -> Symbol:
        return self._graph.binary(op, other, self)

    return before, behind


class Symbol:
    """A value of a formula: the operation that gives it, and its operands.

    Operators and the functions of this module make new symbols; equal ones are one object.

    Attributes:
        op: the operation.
        args: symbols, or whatever the operation needs: a name, a number.
        depth: the number of operations in the longest chain that leads to it.
    """

    __slots__ = ("_graph", "args", "depth", "op")

    def __init__(self, graph: Graph, op: str, args: tuple[Any, ...]) -> None:
        self._graph, self.op, self.args = graph, op, args
        self.depth: int = 1 + max((operand.depth for operand in self.operands), default=-1)

    @property
    def operands(self) -> tuple[Symbol, ...]:
        """The arguments that are symbols."""
        return tuple(a for a in self.args if isinstance(a, Symbol))

    def __call__(self, *values: Any, **named: Any) -> Symbol:
        """The sum with a value instead of h."""
        if self.op != "sum" or len(values) != 1 or named:
            raise TypeError(
                "only a sum can be called, on one value: n(r * h) takes r * h in place of h"
            )
        return self._graph.make("sum_of", self, self._graph.lift(*values))

    __add__, __radd__ = _operator("add")
    __sub__, __rsub__ = _operator("sub")
    __mul__, __rmul__ = _operator("mul")
    __truediv__, __rtruediv__ = _operator("div")

    def __neg__(self) -> Symbol:
        return self._graph.binary("sub", 0.0, self)

    def __pos__(self) -> Symbol:
        return self

    def __pow__(self, exponent: Any) -> Symbol:
        if not isinstance(exponent, (int, np.integer)):
            raise TypeError(f"a power needs a whole number, not {exponent!r}")
        count = index(exponent)
        if count < 0:
            return 1 / self**-count
        if count < 2:
            return self if count else self._graph.lift(1)
        half = self ** (count // 2)
        return half * half * self if count % 2 else half * half

    def __bool__(self) -> bool:
        raise TypeError("a formula cannot branch on a value: use maximum, minimum or relu")

    def __eq__(self, other: object) -> bool:
        return bool(self) if self._graph.tracing else self is other

    __hash__ = object.__hash__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: Any) -> Any:
        if (
            ufunc in _OPERATORS and method == "__call__" and len(inputs) == 2
        ):  # a NumPy number first
            return self._graph.binary(_OPERATORS[ufunc], *inputs)
        raise _no_function(f"numpy.{ufunc.__name__}")

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> Any:
        raise _no_function(f"torch.{function.__name__}")

    def _not_a_number(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "a value of a formula is not a number: only + - * /, powers with whole numbers "
            "and the functions of fastmask.cells can be applied to it"
        )

    __float__ = __int__ = __index__ = __array__ = __iter__ = __len__ = __getitem__ = _not_a_number
    __lt__ = __le__ = __gt__ = __ge__ = __abs__ = __round__ = __invert__ = _not_a_number
    __matmul__ = __mod__ = __floordiv__ = __divmod__ = __rpow__ = _not_a_number
    __rmatmul__ = __rmod__ = __rfloordiv__ = __rdivmod__ = __and__ = __or__ = _not_a_number

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.args))})"


class Graph:
    """The symbols of one formula, each once.

    Attributes:
        tracing: whether the formula is running; it must not compare values.
    """

    def __init__(self) -> None:
        self.tracing = False
        self._known: dict[tuple[Any, ...], Symbol] = {}

    def make(self, op: str, *args: Any) -> Symbol:
        """The symbol of an operation, made on first use."""
        key = (op, *[id(a) if isinstance(a, Symbol) else a for a in args])
        if key not in self._known:
            self._known[key] = Symbol(self, op, args)
            if self.tracing and self._known[key].depth > MOST_DEEP:
                raise ValueError(f"a chain of more than {MOST_DEEP} operations is too long")
        return self._known[key]

    def lift(self, value: Any) -> Symbol:
        """A symbol as it is, or a number as a constant.

        Raises:
            TypeError: it is neither.
            ValueError: the number is not finite.
        """
        if isinstance(value, Symbol):
            if value._graph is not self:
                raise TypeError("a value of another formula cannot be used here")
            return value
        if isinstance(value, (int, float, np.integer, np.floating)):
            if not math.isfinite(value):
                raise ValueError(f"a formula computes with finite numbers, not {value}")
            return self.make("constant", float(value))
        raise TypeError(f"a formula computes with its arguments and numbers, not {value!r}")

    def binary(self, op: str, left: Any, right: Any) -> Symbol:
        """left op right, simplified."""
        a, b = self.lift(left), self.lift(right)
        x, y = (s.args[0] if s.op == "constant" else None for s in (a, b))
        if op == "div" and y == 0:
            raise ValueError("a formula cannot divide by 0")
        if x is not None and y is not None:
            return self.lift(float(BINARY[op](x, y)))
        if (op in ("add", "sub") and y == 0) or (op in ("mul", "div") and y == 1):
            return a
        if (op == "add" and x == 0) or (op == "mul" and x == 1):
            return b
        if op == "add" and b.op == "sub" and b.args[0] is self.lift(0.0):
            return self.make("sub", a, b.args[1])
        return self.make(op, a, b)


def _graph_of(values: Sequence[Any], name: str) -> Graph:
    for value in values:
        if isinstance(value, Symbol):
            return value._graph
    raise TypeError(f"{name} of fastmask.cells is for values of a formula, not {values[0]!r}")


def _unary(name: str, summary: str) -> Callable[[Any], Symbol]:
    def function(x: Any) -> Symbol:
        return _graph_of([x], name).make(name, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return function


exp = _unary("exp", "e to the power x.")
tanh = _unary("tanh", "The hyperbolic tangent.")
sigmoid = _unary("sigmoid", "1 / (1 + exp(-x)).")
relu = _unary("relu", "max(x, 0).")
hard_sigmoid = _unary("hard_sigmoid", "relu6(x + 3) / 6, as in Keras 3.")
activation = _unary("activation", "The layer's `activation`, chosen when it runs.")
recurrent_activation = _unary(
    "recurrent_activation", "The layer's `recurrent_activation`, chosen when it runs."
)


def maximum(a: Any, b: Any) -> Symbol:
    """The larger of two values; where they are equal, the gradient goes to the first."""
    return _graph_of([a, b], "maximum").binary("maximum", a, b)


def minimum(a: Any, b: Any) -> Symbol:
    """The smaller of two values; where they are equal, the gradient goes to the first."""
    return _graph_of([a, b], "minimum").binary("minimum", a, b)


def normalize(*values: Any) -> Any:
    """Values with mean 0 and variance 1 over the units of a row, as in layer normalization.

    Args:
        *values: one value, or several, whose mean and variance are taken together.

    Returns:
        The normalized value, or a tuple of as many as were given.

    Source:
        J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization" (2016).
    """
    if not values:
        raise TypeError("normalize takes one value or more")
    graph = _graph_of(values, "normalize")
    group = graph.make("moments", *map(graph.lift, values))
    each = tuple(graph.make("normalized", group, x) for x in group.args)
    return each if len(each) > 1 else each[0]


_OPERATORS = {np.add: "add", np.subtract: "sub", np.multiply: "mul", np.divide: "div"}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


def walk(roots: Iterable[Symbol]) -> Iterator[Symbol]:
    """All symbols that `roots` are made of, each once, operands first."""
    seen: set[int] = set()

    def visit(symbol: Symbol) -> Iterator[Symbol]:
        if id(symbol) not in seen:
            seen.add(id(symbol))
            for operand in symbol.operands:
                yield from visit(operand)
            yield symbol

    for root in roots:
        yield from visit(root)
