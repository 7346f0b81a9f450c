"""The steps of the cells, forward and backward, for the time loops to call.

A row z of the input projection has `inputs` numbers a unit, in the order of the saved gates. A
step's products with the recurrent kernel come in one round or, where the second needs the result
of the first, in two; `rounds` says how many columns of the recurrent kernel belong to each.

    forward    reset(s0, s1, z0..z3, h) -> operand of the second round, g1, g2   (two rounds only)
               step(s0..s3, z0..z3, h, c) -> h, c, g0..g3
    backward   begin(g0..g3, h, h_before, c, c_before, dh, dc) ->
                   gradients of the four, dh that passes by the products, dc before
               between(s, ...) of two rounds, see `_gru_before`

`s` are sums of products, `g` gates. What a cell does not have is passed along unchanged.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from ..ops import inlined
from .activations import activation as activation_of
from .activations import slope as slope_of


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


class Kind(NamedTuple):
    """Which cell: enough to make it, and to tell its kernels from others."""

    name: str  # lstm, gru_after, gru_before, rnn
    activation: str
    recurrent_activation: str


@cache
def cell(kind: Kind, dtype: Any, fast: bool = False) -> Cell:
    """A cell with its activations, for numbers of `dtype`; `fast` as `activations.activation`."""
    real = dtype.type
    make = {"lstm": _lstm, "gru_after": _gru_after, "gru_before": _gru_before, "rnn": _rnn}
    return make[kind.name](
        activation_of(kind.recurrent_activation, real, fast),
        activation_of(kind.activation, real, fast),
        slope_of(kind.recurrent_activation, real),
        slope_of(kind.activation, real),
        real,
    )


@inlined
def _no_reset(s0: Any, s1: Any, z0: Any, z1: Any, z2: Any, z3: Any, h: Any) -> Any:
    """For cells of one round, so that kernels of both have the same types."""
    return z0, z1, z2


@inlined
def _no_between(s: Any, r: Any, before: Any) -> Any:
    """For cells of one round."""
    return s, r


def _lstm(inner: Any, outer: Any, inner_slope: Any, outer_slope: Any, real: Any) -> Cell:
    zero = real(0)

    @inlined
    def step(
        s0: Any, s1: Any, s2: Any, s3: Any, z0: Any, z1: Any, z2: Any, z3: Any, h: Any, c: Any
    ) -> Any:
        i, f, g, o = inner(z0 + s0), inner(z1 + s1), outer(z2 + s2), inner(z3 + s3)
        c = f * c + i * g
        return o * outer(c), c, i, f, g, o

    @inlined
    def begin(
        i: Any, f: Any, g: Any, o: Any, h: Any, before: Any, c: Any, c_before: Any, dh: Any, dc: Any
    ) -> Any:
        y = outer(c)
        dc = dc + dh * o * outer_slope(y)
        return (
            dc * g * inner_slope(i),
            dc * c_before * inner_slope(f),
            dc * i * outer_slope(g),
            dh * y * inner_slope(o),
            zero,
            dc * f,
        )

    return Cell(4, 4, False, (4,), ((0, 4),), True, step, _no_reset, begin, _no_between)


def _gru_after(inner: Any, outer: Any, inner_slope: Any, outer_slope: Any, real: Any) -> Cell:
    one = real(1)

    @inlined
    def step(
        s0: Any, s1: Any, s2: Any, s3: Any, z0: Any, z1: Any, z2: Any, z3: Any, h: Any, c: Any
    ) -> Any:
        z, r, q = inner(z1 + s0), inner(z2 + s1), z3 + s2
        n = outer(z0 + r * q)
        return z * h + (one - z) * n, c, n, z, r, q

    @inlined
    def begin(
        n: Any, z: Any, r: Any, q: Any, h: Any, before: Any, c: Any, c_before: Any, dh: Any, dc: Any
    ) -> Any:
        dn = dh * (one - z) * outer_slope(n)
        dz = dh * (before - n) * inner_slope(z)
        return dn, dz, dn * q * inner_slope(r), dn * r, dh * z, dc

    return Cell(4, 3, True, (3,), ((1, 3),), False, step, _no_reset, begin, _no_between)


def _gru_before(inner: Any, outer: Any, inner_slope: Any, outer_slope: Any, real: Any) -> Cell:
    zero, one = real(0), real(1)

    @inlined
    def reset(s0: Any, s1: Any, z0: Any, z1: Any, z2: Any, z3: Any, h: Any) -> Any:
        r = inner(z2 + s1)
        return r * h, inner(z1 + s0), r

    @inlined
    def step(
        s0: Any, z: Any, r: Any, operand: Any, z0: Any, z1: Any, z2: Any, z3: Any, h: Any, c: Any
    ) -> Any:
        n = outer(z0 + s0)
        return z * h + (one - z) * n, c, n, z, r, operand

    @inlined
    def begin(
        n: Any, z: Any, r: Any, q: Any, h: Any, before: Any, c: Any, c_before: Any, dh: Any, dc: Any
    ) -> Any:
        dn = dh * (one - z) * outer_slope(n)
        return dn, dh * (before - n) * inner_slope(z), zero, q, dh * z, dc

    @inlined
    def between(s: Any, r: Any, before: Any) -> Any:
        """From the gradient s of r * h: that of r's sum, and the part of dh."""
        return s * before * inner_slope(r), s * r

    return Cell(4, 3, False, (2, 1), ((0, 1), (1, 2)), False, step, reset, begin, between)


def _rnn(inner: Any, outer: Any, inner_slope: Any, outer_slope: Any, real: Any) -> Cell:
    zero = real(0)

    @inlined
    def step(
        s0: Any, s1: Any, s2: Any, s3: Any, z0: Any, z1: Any, z2: Any, z3: Any, h: Any, c: Any
    ) -> Any:
        h = outer(z0 + s0)
        return h, c, h, zero, zero, zero

    @inlined
    def begin(
        g0: Any,
        g1: Any,
        g2: Any,
        g3: Any,
        h: Any,
        before: Any,
        c: Any,
        c_before: Any,
        dh: Any,
        dc: Any,
    ) -> Any:
        return dh * outer_slope(h), zero, zero, zero, zero, dc

    return Cell(1, 1, False, (1,), ((0, 1),), False, step, _no_reset, begin, _no_between)
