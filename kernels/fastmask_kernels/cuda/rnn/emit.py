"""Device functions from a formula's graph: Python source, one assignment per symbol.

    def step(s0, z0, h):
        v0 = z0 + s0
        v1 = activation_tanh(v0)
        return v1

Numbers are typed constants of the function, activations are those of `activations`, and
everything is inlined into the kernel that calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...cells import Cell
from ...formula import Symbol
from ..ops import of_lines
from .activations import activation, slope

_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARED = {"maximum": ">=", "minimum": "<="}
ZERO = "zero"  # the expression for an absent result


class Kind(NamedTuple):
    """A cell with its activations: what its kernels depend on."""

    cell: Cell
    activation: str
    recurrent_activation: str

    def __repr__(self) -> str:
        chosen = ", ".join(getattr(self, name) for name in self.cell.activations)
        return f"{self.cell.name} {self.cell.digest} {chosen}"


class Body:
    """The lines of a function, and what they refer to.

    Args:
        kind: the cell, and what its `activation` and `recurrent_activation` are.
        real: type of its numbers.
        known: symbols that are given, as expressions of the arguments.
        fast: as for `activations.activation`.
        prefix: of the names of its variables, where bodies are joined.
    """

    def __init__(
        self, kind: Kind, real: Any, known: Mapping[Symbol, str], fast: bool, prefix: str = ""
    ) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {ZERO: real(0), "one": real(1)}
        self._kind, self._real, self._known, self._fast = kind, real, known, fast
        self._found: dict[Symbol, str] = {}
        self._prefix = prefix

    def function(self, parameters: Sequence[str]) -> Any:
        """The device function."""
        return of_lines(parameters, self.lines, self.names)

    def name_of(self, symbol: Symbol) -> str:
        """The variable with the symbol's value, assigned when it is first needed."""
        if symbol not in self._found:
            value = self._known.get(symbol) or self._expression(symbol)
            self._found[symbol] = name = f"{self._prefix}v{len(self._found)}"
            self.lines.append(f"{name} = {value}")
        return self._found[symbol]

    def _expression(self, symbol: Symbol) -> str:
        op, args = symbol.op, symbol.args
        if op == "constant":
            self.names[f"{self._prefix}k{len(self.names)}"] = self._real(args[0])
            return next(reversed(self.names))
        if op in ("moments", "normalized", "scale", "means", "mean", "sum_of", "sum", "returned"):
            raise ValueError(
                f"cuda kernels have no code for {op} where the cell {self._kind.cell.name} needs it"
            )
        if op == "slope":
            function = slope(self._chosen(args[0]), self._real)
            return self._call(f"slope_{args[0]}", function, args[1])
        a, *rest = map(self.name_of, symbol.operands)
        if op in _OPERATORS:
            return f"{a} {_OPERATORS[op]} {rest[0]}"
        if op in _COMPARED:  # NaN of either stays NaN
            return f"{a} if {a} {_COMPARED[op]} {rest[0]} or {a} != {a} else {rest[0]}"
        if op == "is_first":
            return f"one if {a} == {rest[0]} else {ZERO}"
        function = activation(self._chosen(op), self._real, self._fast)
        return self._call(f"activation_{op}", function, symbol.args[0])

    def _call(self, name: str, function: Any, argument: Symbol) -> str:
        self.names[name] = function
        return f"{name}({self.name_of(argument)})"

    def _chosen(self, name: str) -> str:
        named = name in ("activation", "recurrent_activation")
        return str(getattr(self._kind, name)) if named else name


def joined(bodies: Sequence[Body], parameters: Sequence[str]) -> Any:
    """The device function of several bodies, one after the other; each has a prefix of its own."""
    names = {name: value for body in bodies for name, value in body.names.items()}
    return of_lines(parameters, [line for body in bodies for line in body.lines], names)
