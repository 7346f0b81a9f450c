"""The gradients of a formula, and what they need of the forward pass.

Derivatives are taken by reverse accumulation (A. Griewank and A. Walther, "Evaluating
Derivatives", 2008) and written in terms of the values of the activations, which is what a
forward pass keeps.
"""

from __future__ import annotations

from .symbols import Graph, Symbol, walk
from .trace import Formula

_LEAVES = ("sum", "state", "vector", "constant", "gradient", "returned")


class Gradients:
    """The gradients of a formula, as symbols of the same graph.

    Attributes:
        given: the gradients of the states after the step, from which all others follow.
        returned: for each sum that is called on a value, the product of the sum's gradient with
            U^T, which is the gradient of that value.
        sums: gradients of the sums, by name.
        states: gradients of the states before the step, without the part that goes through
            products; None where there is no other.
        vectors: gradients of the vectors, for one row.
    """

    def __init__(self, formula: Formula) -> None:
        graph = formula.new[0]._graph
        self._graph, self._found = graph, dict[int, Symbol]()
        self._items: dict[int, dict[int, Symbol]] = {}
        self.given = {name: graph.make("gradient", name) for name in formula.states}
        self.returned: dict[str, Symbol] = {}
        for symbol, gradient in zip(formula.new, self.given.values(), strict=True):
            self._give(symbol, gradient)
        for symbol in reversed(list(walk(formula.new))):
            self._pass_on(symbol)
        self.sums = {name: self._found[id(s)] for name, s in formula.sums.items()}
        self.states = {name: self._found.get(id(s)) for name, s in formula.states.items()}
        self.vectors = {name: self._found[id(s)] for name, s in formula.vectors.items()}

    def _give(self, symbol: Symbol, gradient: Symbol) -> None:
        known = self._found.get(id(symbol))
        self._found[id(symbol)] = gradient if known is None else known + gradient

    def _pass_on(self, y: Symbol) -> None:
        """Pass the gradient of y on to its operands."""
        if y.op == "moments":
            self._through_moments(y)
            return
        g = self._found.get(id(y))
        if g is None or y.op in _LEAVES:
            return
        make, args = self._graph.make, y.args
        if y.op == "add":
            self._give(args[0], g)
            self._give(args[1], g)
        elif y.op == "sub":
            self._give(args[0], g)
            self._give(args[1], -g)
        elif y.op == "mul":
            self._give(args[0], g * args[1])
            self._give(args[1], g * args[0])
        elif y.op == "div":
            self._give(args[0], g / args[1])
            self._give(args[1], -(g / args[1] * y))
        elif y.op in ("maximum", "minimum"):
            first = make("is_first", y, args[0])
            self._give(args[0], g * first)
            self._give(args[1], g * (1.0 - first))
        elif y.op == "normalized":
            self._items.setdefault(id(args[0]), {})[id(args[1])] = g
        elif y.op == "sum_of":
            self._give(args[0], g)
            name = args[0].args[0]
            self.returned[name] = make("returned", name)
            self._give(args[1], self.returned[name])
        else:
            self._give(args[0], g * _slope(self._graph, y))

    def _through_moments(self, group: Symbol) -> None:
        """dx = (dy - mean(dy) - y mean(dy y)) / deviation, with means over units and values."""
        found = self._items.get(id(group), {})
        if not found:
            return
        make = self._graph.make
        each = [(x, make("normalized", group, x)) for x in group.args]
        terms = [s for x, y in each if id(x) in found for s in (found[id(x)], found[id(x)] * y)]
        means, scale = make("means", len(each), *terms), make("scale", group)
        for x, y in each:
            rest = make("mean", means, 0) + y * make("mean", means, 1)
            self._give(x, ((found[id(x)] - rest) if id(x) in found else -rest) * scale)


def _slope(graph: Graph, y: Symbol) -> Symbol:
    """The derivative of y = f(x), from y."""
    if y.op == "tanh":
        return 1.0 - y * y
    if y.op == "sigmoid":
        return y * (1.0 - y)
    if y.op == "exp":
        return y
    return graph.make("slope", y.op, y)  # of relu, hard_sigmoid, and what is chosen later


def saved(formula: Formula, gradients: Gradients) -> tuple[Symbol, ...]:
    """What the forward pass must keep for the backward one, in a fixed order.

    The states before and after the step are available anyway, and what can be computed from these
    and from vectors is computed again.
    """
    free = {id(s) for s in (*formula.states.values(), *formula.vectors.values(), *formula.new)}
    forward = {id(s) for s in walk(formula.new)}
    known: dict[int, bool] = {}

    def is_free(symbol: Symbol) -> bool:
        if id(symbol) not in known:
            known[id(symbol)] = id(symbol) in free or _computable(symbol, free)
        return known[id(symbol)]

    kept: list[Symbol] = []
    seen: set[int] = set()

    def visit(symbol: Symbol) -> None:
        if id(symbol) in seen:
            return
        seen.add(id(symbol))
        if id(symbol) in forward or symbol.op == "scale":
            if not is_free(symbol):
                kept.append(symbol)
            return
        for operand in symbol.operands:
            visit(operand)

    targets = (*gradients.sums.values(), *gradients.states.values(), *gradients.vectors.values())
    for target in targets:
        if target is not None:
            visit(target)
    order = {id(s): n for n, s in enumerate(walk([*formula.new, *kept]))}
    return _fewest(sorted(kept, key=lambda s: order[id(s)]), free)


def _fewest(kept: list[Symbol], free: set[int]) -> tuple[Symbol, ...]:
    """Drop the symbols that can be computed from the others and from what is free."""
    needed = list(kept)
    for symbol in reversed(kept):  # operands are kept rather than results
        rest = {id(s) for s in needed if s is not symbol} | free
        if _computable(symbol, rest):
            needed.remove(symbol)
    return tuple(needed)


def _computable(symbol: Symbol, known: set[int]) -> bool:
    if symbol.op in ("sum", "sum_of", "moments") or not symbol.operands:
        return symbol.op == "constant"
    return all(id(o) in known or _computable(o, known) for o in symbol.operands)
