"""Tracing: from a function to its graph."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Callable, Collection
from types import CodeType
from typing import Any

from .symbols import Graph, Symbol, walk


class Formula:
    """A traced formula.

    Attributes:
        name: the function's name.
        sums: the sums by name, in the order of the weights' columns.
        states: the states before the step by name.
        vectors: the vectors by name.
        new: the states after the step, in the order of `states`.
        x_only: names of the sums without a part of h.
        h_only: names of the sums without a part of x.
        second: names of the sums that are called on a value: h has no part in them before that.
    """

    def __init__(
        self,
        name: str,
        sums: dict[str, Symbol],
        states: dict[str, Symbol],
        vectors: dict[str, Symbol],
        new: tuple[Symbol, ...],
        x_only: tuple[str, ...],
        h_only: tuple[str, ...],
    ) -> None:
        self.name, self.sums, self.states, self.vectors = name, sums, states, vectors
        self.new, self.x_only, self.h_only = new, x_only, h_only
        called = {s.args[0].args[0] for s in walk(new) if s.op == "sum_of"}
        self.second = tuple(name for name in sums if name in called)


def trace(
    function: Callable[..., Any], x_only: Collection[str] = (), h_only: Collection[str] = ()
) -> Formula:
    """Run a formula once on symbols.

    Args:
        function: its positional arguments are the sums, then the states, as many as it returns;
            its keyword-only arguments are vectors, one number a unit.
        x_only: names of sums without a part of h.
        h_only: names of sums without a part of x.

    Raises:
        TypeError: it branches on a value, applies a function that is not from `formula`, or does
            not return values; the message shows the line.
        ValueError: a sum or vector is not used, or the numbers of states do not agree.
    """
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise TypeError(f"a formula must be a function, not {function!r}")
    for word, names in (("x_only", x_only), ("h_only", h_only)):
        if isinstance(names, str) or not isinstance(names, Collection):
            raise TypeError(f"{word} must hold names of sums, like ('n',), not {names!r}")
    try:
        formula = _run(function, tuple(x_only), tuple(h_only))
        _check(formula)
    except Exception as error:
        raise with_line(function, error) from error
    return formula


def _run(function: Callable[..., Any], x_only: tuple[str, ...], h_only: tuple[str, ...]) -> Formula:
    positional, keywords = _arguments(function)
    graph = Graph()
    arguments = {name: graph.make("sum", name) for name in positional}
    vectors = {name: graph.make("vector", name) for name in keywords}
    graph.tracing = True
    returned = function(*arguments.values(), **vectors)
    graph.tracing = False
    if returned is None:
        raise TypeError("it returns nothing, but must return the new states")
    new = tuple(map(graph.lift, returned if isinstance(returned, (tuple, list)) else [returned]))
    if not 0 < len(new) < len(positional):
        raise ValueError(
            f"it returns {len(new)} states, so its last {len(new)} of {len(positional)} arguments "
            "must be states, with one sum or more before them"
        )
    sums = dict(list(arguments.items())[: -len(new)])
    states = dict(list(arguments.items())[-len(new) :])
    for symbol in states.values():
        symbol.op = "state"
    return Formula(function.__name__, sums, states, vectors, new, x_only, h_only)


def _arguments(function: Callable[..., Any]) -> tuple[list[str], list[str]]:
    kinds = inspect.Parameter
    positional, keywords = [], []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is kinds.KEYWORD_ONLY:
            keywords.append(parameter.name)
        elif parameter.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD):
            raise TypeError(
                "it must name its arguments: sums, then states, then vectors after a *, not "
                f"{parameter}"
            )
        elif parameter.default is not kinds.empty:
            raise TypeError(f"only vectors, after a *, have initial values, not {parameter}")
        else:
            positional.append(parameter.name)
    return positional, keywords


def with_line(function: Callable[..., Any], error: Exception) -> Exception:
    """The error with the line of the formula that it comes from, or else the line of its `def`."""
    code = function.__code__
    frames = [
        (frame.lineno, frame.line)
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == code.co_filename
    ]
    number, line = frames[-1] if frames else _definition(code)
    shown = f"{line}\n    " if line else ""  # empty for code that is in no file
    kind = TypeError if isinstance(error, (TypeError, AttributeError)) else ValueError
    return kind(f"{function.__name__}, line {number}: {shown}{error}")


def _definition(code: CodeType) -> tuple[int, str]:
    """The line of a `def`, after its decorators."""
    number = first = code.co_firstlineno
    while (line := linecache.getline(code.co_filename, number).strip()) and line[0] in "@":
        number += 1
    return (number, line) if line.startswith("def ") else (first, line)


def _check(formula: Formula) -> None:
    used = list(walk(formula.new))
    for kind, named in (("sum", formula.sums), ("vector", formula.vectors)):
        for word, symbol in named.items():
            if symbol not in used:
                states = f"; its states, as many as it returns, are {', '.join(formula.states)}"
                hint = states if kind == "sum" else ""
                raise ValueError(f"the {kind} {word} is not used{hint}")
    for kind, names in (("x_only", formula.x_only), ("h_only", formula.h_only)):
        unknown = set(names) - set(formula.sums)
        if unknown:
            raise ValueError(f"{kind} names {sorted(unknown)}, which are not sums")
    if both := set(formula.x_only) & set(formula.h_only):
        raise ValueError(f"{sorted(both)} cannot be both in x_only and in h_only")
    calls = [s for s in used if s.op == "sum_of"]
    for symbol in calls:
        if symbol.args[0].op == "state":
            raise TypeError(f"only a sum can be called, not the state {symbol.args[0].args[0]}")
    for word in formula.second:
        symbol = formula.sums[word]
        users = [s for s in used if symbol in s.operands]
        if len(users) > 1 or sum(s is symbol for s in formula.new):
            raise ValueError(f"the sum {word} is called, so it can be used in that call only")
        if word in formula.x_only:
            raise ValueError(f"the sum {word} has no part of h to be called on a value")
    if any(s.args[1].op == "constant" for s in calls):
        raise ValueError("a sum must be called on a value that depends on the step")
