"""A formula as vector instructions, with sigmoid and tanh as fractions.

A division takes longer than anything else in a cell, and sigmoid and tanh end in one each. Here
they stay fractions until something is added to them, or they are stored: products of fractions are
multiplied out, and an LSTM's step has three divisions instead of five.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from ...formula import Symbol, walk
from ..simd import Emitter
from .activations import SLOPES, VALUES, emit_activation, emit_all_are, emit_slope

HALF = 0.49  # share of the exponents that one of two denominators may take


class Fraction(NamedTuple):
    """A value that is not divided yet; None as the numerator stands for 1."""

    numerator: Any
    denominator: Any
    factors: int  # how many denominators were multiplied


Functions = Mapping[str, str | Callable[[Emitter, Any], Any]]
"""For `activation` and `recurrent_activation` the name of an activation, or a function that emits
it; for `slope:activation` and `slope:recurrent_activation` one that then emits its slope."""


_USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid"}


def each_choice(emit: Emitter, names: Sequence[str], fields: Any) -> Iterator[Functions]:
    """The choices of activations to emit code for: the usual ones, and any others.

    Args:
        emit: the emitter of vectors.
        names: the activations that a formula leaves to the layer.
        fields: has the codes that are known at run time, i64 values, under these names.
    """
    if not names:
        yield {}
        return
    codes = {name: getattr(fields, name) for name in names}
    usual = emit_all_are(emit, {_USUAL[name]: code for name, code in codes.items()})
    with emit.builder.if_else(usual) as (then, otherwise):
        with then:
            yield _USUAL
        with otherwise:
            general: dict[str, Callable[[Emitter, Any], Any]] = {}
            for name, code in codes.items():
                general[name] = partial(_call, emit_activation, code)
                general[f"slope:{name}"] = partial(_call, emit_slope, code)
            yield general


def _call(function: Callable[..., Any], code: Any, emit: Emitter, x: Any) -> Any:
    return function(emit, code, x)


class FormulaEmitter:
    """Emits symbols at the builder's position, each once.

    Args:
        emit: the emitter of vectors.
        known: vectors of the leaves, and of whatever else is known; pairs of vectors for
            `moments` and `means`, which are found over all units of a row.
        roots: all symbols that will be needed: how they are used decides their form.
        chosen: the layer's activations.
    """

    def __init__(
        self,
        emit: Emitter,
        known: Mapping[Symbol, Any],
        roots: Sequence[Symbol],
        chosen: Functions,
    ) -> None:
        self._emit, self._chosen = emit, chosen
        self._values: dict[int, Any] = {id(s): v for s, v in known.items()}
        self._shared = _shared(roots, chosen)
        self.divisions = 0

    def vector(self, symbol: Symbol) -> Any:
        """The symbol's value as a vector."""
        value = self._value(symbol)
        if isinstance(value, Fraction):
            numerator = value.numerator
            if numerator is None:
                numerator = self._emit.const(1.0)
            value = self._emit.builder.fdiv(numerator, value.denominator)
            self._values[id(symbol)] = value
            self.divisions += 1
        return value

    def _value(self, symbol: Symbol) -> Any:
        """A vector or a fraction."""
        if id(symbol) not in self._values:
            self._values[id(symbol)] = self._make(symbol)
        return self._values[id(symbol)]

    def _make(self, symbol: Symbol) -> Any:
        emit, op, args = self._emit, symbol.op, symbol.args
        if op == "constant":
            return emit.const(args[0])
        if op == "slope":
            return self._slope(args[0], self.vector(args[1]))
        if op == "normalized":
            mean, scale = self._values[id(args[0])]
            b = emit.builder
            return b.fmul(b.fsub(self.vector(args[1]), mean), scale)
        if op in ("scale", "mean"):
            return self._values[id(args[0])][1 if op == "scale" else args[1]]
        if op in ("activation", "recurrent_activation"):
            known = self._chosen[op]
            if not isinstance(known, str):
                return known(emit, self.vector(args[0]))
            op = known
        if op == "sigmoid":
            share = HALF if id(symbol) in self._shared else 1.0
            return Fraction(None, emit.sigmoid_fraction(self.vector(args[0]), share), 1)
        if op == "tanh":
            return Fraction(*emit.tanh_fraction(self.vector(args[0])), 1)
        if op == "exp":
            return emit.exp(self.vector(args[0]))
        if op in VALUES:
            return VALUES[op](emit, self.vector(args[0]))
        if op == "mul":
            return self._product(*args)
        return self._binary(op, self.vector(args[0]), self.vector(args[1]))

    def _slope(self, name: str, y: Any) -> Any:
        known = self._chosen.get(name, name)
        function = SLOPES[known] if isinstance(known, str) else self._chosen[f"slope:{name}"]
        assert not isinstance(function, str)
        return function(self._emit, y)

    def _product(self, a: Symbol, b: Symbol) -> Any:
        multiply = self._emit.builder.fmul
        p, q = self._value(a), self._value(b)
        if isinstance(p, Fraction) and isinstance(q, Fraction):
            if p.factors + q.factors > 2:  # the denominators could overflow
                return multiply(self.vector(a), self.vector(b))
            denominator = multiply(p.denominator, q.denominator)
            if p.numerator is None or q.numerator is None:
                numerator = q.numerator if p.numerator is None else p.numerator
            else:
                numerator = multiply(p.numerator, q.numerator)
            return Fraction(numerator, denominator, p.factors + q.factors)
        if isinstance(q, Fraction):
            p, q = q, p
        if isinstance(p, Fraction):
            numerator = q if p.numerator is None else multiply(p.numerator, q)
            return Fraction(numerator, p.denominator, p.factors)
        return multiply(p, q)

    def _binary(self, op: str, x: Any, y: Any) -> Any:
        b = self._emit.builder
        if op in ("add", "sub", "div"):
            return getattr(b, "f" + op)(x, y)
        if op == "is_first":
            return b.select(
                b.fcmp_ordered("==", x, y), self._emit.const(1.0), self._emit.const(0.0)
            )
        # Unordered, so that NaN in x comes out; the last line does the same for NaN in y.
        larger = b.select(b.fcmp_unordered("<" if op == "minimum" else ">", x, y), x, y)
        return b.select(b.fcmp_unordered("uno", y, y), y, larger)


def _factors(symbol: Symbol, chosen: Functions) -> list[Symbol]:
    """The sigmoids and tanhs whose denominators are multiplied in the symbol's fraction."""
    name = chosen.get(symbol.op, symbol.op)
    if name in ("sigmoid", "tanh"):
        return [symbol]
    if symbol.op == "mul":
        return [s for operand in symbol.args for s in _factors(operand, chosen)]
    return []


def _shared(roots: Sequence[Symbol], chosen: Functions) -> set[int]:
    """Ids of the symbols whose denominators are multiplied with another one."""
    found: set[int] = set()
    for symbol in walk(roots):
        factors = _factors(symbol, chosen) if symbol.op == "mul" else []
        if len(factors) > 1:
            found |= {id(s) for s in factors}
    return found
