"""Formulas of every kind, for the tests."""

from __future__ import annotations

from typing import Any

from fastmask_kernels.formula import (
    exp,
    hard_sigmoid,
    maximum,
    minimum,
    normalize,
    relu,
    sigmoid,
    tanh,
)


def lstm(i: Any, f: Any, g: Any, o: Any, h: Any, c: Any) -> Any:
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru_reset_after(n: Any, z: Any, r: Any, q: Any, h: Any) -> Any:
    z, r = sigmoid(z), sigmoid(r)
    n = tanh(n + r * q)
    return n + z * (h - n)


def gru_reset_before(z: Any, r: Any, n: Any, h: Any) -> Any:
    z, r = sigmoid(z), sigmoid(r)
    n = tanh(n(r * h))
    return n + z * (h - n)


def simple_rnn(s: Any, h: Any) -> Any:
    return tanh(s)


def coupled_gates(f: Any, g: Any, o: Any, h: Any, c: Any) -> Any:
    f, g = sigmoid(f), tanh(g)
    c = g + f * (c - g)
    return sigmoid(o) * tanh(c), c


def peephole(
    i: Any, f: Any, g: Any, o: Any, h: Any, c: Any, *, p_i: Any, p_f: Any, p_o: Any
) -> Any:
    i, f = sigmoid(i + p_i * c), sigmoid(f + p_f * c)
    c = f * c + i * tanh(g)
    return sigmoid(o + p_o * c) * tanh(c), c


def independent(s: Any, h: Any, *, u: Any) -> Any:
    return relu(s + u * h)


def minimal_gated(f: Any, n: Any, h: Any) -> Any:
    f = sigmoid(f)
    return h + f * (tanh(n(f * h)) - h)


def layer_normalized(
    i: Any, f: Any, g: Any, o: Any, h: Any, c: Any, *, gain: Any, shift: Any
) -> Any:
    i, f, g, o = normalize(i, f, g, o)
    c = sigmoid(f) * c + sigmoid(gain * i) * tanh(g)
    return sigmoid(o) * tanh(normalize(c) + shift), c


def odd(a: Any, b: Any, h: Any, c: Any) -> Any:
    """All operations that the other formulas leave out."""
    return maximum(a, c) / (1 + exp(minimum(b, -h))), c * hard_sigmoid(a) - (b**2) / 3


def all_kinds(a: Any, b: Any, c: Any, d: Any, e: Any, h: Any, s: Any, *, v: Any, w: Any) -> Any:
    """Sums of each kind, nested called sums, and three rounds; see `Cell.order`."""
    first = tanh(c(v * h))
    second = sigmoid(d(first + s))
    third = normalize(first * a, second)
    return third[0] + b * second, w * s + sigmoid(e) * third[1] - a


def powers(a: Any, h: Any, c: Any) -> Any:
    """Powers of every sign."""
    return (1 + a**2) ** -2 * h + c**3, (2 + h * h) ** -1 + a**0 - c**1 / 2


ALL = (
    lstm,
    gru_reset_after,
    gru_reset_before,
    simple_rnn,
    coupled_gates,
    peephole,
    independent,
    minimal_gated,
    layer_normalized,
    odd,
    powers,
    all_kinds,
)


def called_in_turn(a: Any, b: Any, r: Any, h: Any) -> Any:
    """A sum that is called on the result of another call."""
    return tanh(b(tanh(a(sigmoid(r) * h)) * h)) * sigmoid(r)


def called_side_by_side(a: Any, b: Any, r: Any, h: Any) -> Any:
    """Two calls that could be made together."""
    return tanh(a(sigmoid(r) * h)) * tanh(b(h * h)) + h / 2


def called_on_normalized(a: Any, b: Any, h: Any, c: Any, *, p: Any) -> Any:
    """Sums over all units before and after a call."""
    n = tanh(b(normalize(sigmoid(a) * h)))
    first, second = normalize(n + c, p * h)
    return first + n, second * c + h


def of_three_states(a: Any, h: Any, c: Any, m: Any) -> Any:
    return tanh(a) * c, c / 2 + m * h, sigmoid(a + m)


def with_a_state_that_nothing_reads(a: Any, h: Any, c: Any) -> Any:
    return tanh(a), sigmoid(a)


ROUNDS = (
    called_in_turn,
    called_side_by_side,
    called_on_normalized,
    of_three_states,
    with_a_state_that_nothing_reads,
)
"""Formulas whose steps have several rounds, or unusual states."""
