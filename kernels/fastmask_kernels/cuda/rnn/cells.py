"""The steps of the cells, forward and backward, as the time loops call them.

A row z of the input projection has `inputs` numbers a unit, in the order of the saved gates. A
step's products with the recurrent kernel come in one round or, where the second needs the result
of the first, in two; `rounds` says how many columns of the recurrent kernel belong to each.

    forward    reset(s0, s1, z0..z3, h) -> operand of the second round, g1, g2   (two rounds only)
               step(s0..s3, z0..z3, h, c) -> h, c, g0..g3
    backward   begin(g0..g3, h, h_before, c, c_before, dh, dc) ->
                   gradients of the four, dh that passes by the products, dc before
               between(s, ...) of two rounds: what comes back of the second round

`s` are sums of products, `g` gates. What a cell does not have is passed along unchanged.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from ...formula import Symbol, walk
from ..ops import inlined
from .emit import ZERO, Kind, Result, device_function

_SUMS, _ROW, _GATES = (tuple(f"{letter}{n}" for n in range(4)) for letter in "szg")


class Cell(NamedTuple):
    """What the time loops ask of a cell."""

    saved: int  # gates of a unit that are saved, or rows of z
    inputs: int  # of them, those that x has a part in: the first
    late: bool  # whether the last one is the bias of a product that x has no part in
    rounds: tuple[int, ...]  # columns of the recurrent kernel, forward
    returns: tuple[tuple[int, int], ...]  # first gate and number of gates, of each round backward
    has_c: bool
    step: Any
    reset: Any
    begin: Any
    between: Any


@cache
def cell(kind: Kind, dtype: Any, fast: bool = False) -> Cell:
    """A cell with its activations, for numbers of `dtype`; `fast` as `activations.activation`."""
    c, real = kind.cell, dtype.type
    columns = [n for n, name in enumerate(c.order) if name in _of_h(kind)]
    returns: tuple[tuple[int, int], ...] = ((columns[0], len(columns)),)
    if c.called:
        returns = ((c.order.index(c.called[0].args[0].args[0]), 1), *returns)
    step, reset = _forward(kind, real, fast)
    begin, between = _backward(kind, real)
    return Cell(
        len(c.saved),
        len(c.inputs),
        bool(c.formula.h_only),
        (len(columns), *(1 for _ in c.called)),
        returns,
        len(c.states) == 2,
        step,
        reset,
        begin,
        between,
    )


def _of_h(kind: Kind) -> tuple[str, ...]:
    """Names of the sums of the product with h, as they stand in z."""
    c = kind.cell
    left_out = {*c.formula.x_only, *c.formula.second}
    return tuple(name for name in c.order if name not in left_out)


@inlined
def _no_reset(s0: Any, s1: Any, z0: Any, z1: Any, z2: Any, z3: Any, h: Any) -> Any:
    """For cells of one round, so that kernels of both have the same types."""
    return z0, z1, z2


@inlined
def _no_between(s: Any, r: Any, before: Any) -> Any:
    """For cells of one round."""
    return s, r


def _forward(kind: Kind, real: Any, fast: bool) -> tuple[Any, Any]:
    """The device functions step and reset."""
    c, formula, of_h = kind.cell, kind.cell.formula, _of_h(kind)
    states = ("h", "c")[: len(c.states)]
    known: dict[Symbol, str] = dict(zip(formula.states.values(), states))
    for name, z in zip(c.order, _ROW):
        product = f" + {_SUMS[of_h.index(name)]}" if name in of_h else ""
        known[formula.sums[name]] = z + product
    saved: list[Result] = [ZERO if s is None else s for s in c.saved]
    saved += [ZERO] * (4 - len(saved))
    results: list[Result] = [*formula.new, *("h", "c")[len(c.states) :], *saved]
    reset = _no_reset
    if c.called:
        (call,) = c.called
        first = ("s0", "s1", *_ROW, "h")
        reset = device_function(kind, real, first, known, [call.args[1], *saved[1:3]], fast)
        known |= {call: "z0 + s0", call.args[1]: "s3"}
        known |= {s: name for s, name in zip(c.saved[1:3], ("s1", "s2")) if s is not None}
    step = device_function(kind, real, (*_SUMS, *_ROW, "h", "c"), known, results, fast)
    return step, reset


def _backward(kind: Kind, real: Any) -> tuple[Any, Any]:
    """The device functions begin and between."""
    c, formula, gradients = kind.cell, kind.cell.formula, kind.cell.gradients
    known: dict[Symbol, str] = {s: g for s, g in zip(c.saved, _GATES) if s is not None}
    known |= dict(zip(formula.states.values(), ("before", "c_before")))
    known |= {formula.new[-1]: ("h", "c")[len(c.states) - 1]}
    known |= dict(zip(gradients.given.values(), ("dh", "dc")))
    sums = [split_returned(gradients.sums[name]) for name in c.order]
    kept: list[Result] = [now for now, _ in sums]
    kept += _GATES[len(sums) : len(c.saved)]
    kept += [ZERO] * (4 - len(kept))
    direct, later = split_returned(gradients.states["h"])
    dc = gradients.states.get("c")
    arguments = (*_GATES, "h", "before", "c", "c_before", "dh", "dc")
    results = [*kept, direct, "dc" if dc is None else dc]
    begin, between = device_function(kind, real, arguments, known, results), _no_between
    if c.called:
        (n,) = (n for n, (_, then) in enumerate(sums) if then)
        known |= dict.fromkeys(gradients.returned.values(), "s")
        if (r := c.saved[n]) is not None:
            known[r] = "r"
        between = device_function(kind, real, ("s", "r", "before"), known, [sums[n][1], later])
    return begin, between


def split_returned(gradient: Symbol | None) -> tuple[list[Symbol], list[Symbol]]:
    """Terms of a gradient: those that are known before any product, and the others.

    The others have a factor that comes back of the product of another gradient with U^T.
    """
    if gradient is None:
        return [], []
    if gradient.op == "add":
        halves = [split_returned(operand) for operand in gradient.operands]
        return [s for now, _ in halves for s in now], [s for _, then in halves for s in then]
    waits = any(s.op == "returned" for s in walk([gradient]))
    return ([], [gradient]) if waits else ([gradient], [])
