"""Activations and their derivatives as device functions, chosen when a kernel is made."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from ..ops import inlined
from ..runtime import ptx as ptx


@cache
def activation(name: str, real: Any, fast: bool = False) -> Any:
    """Device function of one number; nothing overflows, NaN stays NaN.

    In float32 a sigmoid takes a few instructions and no division; its error is up to about 3e-7.
    The same holds for tanh with `fast`, meant for products in tf32 or bf16, whose errors are much
    larger; without it, tanh is accurate even for small numbers.
    """
    zero, one = real(0), real(1)
    three, six = real(3), real(6)
    fifth, half = real(1) / real(5), real(0.5)
    two, minus_log2_e = real(2), real(-math.log2(math.e))

    def linear(x: Any) -> Any:
        return x

    def relu(x: Any) -> Any:
        return zero if x < zero else x

    def sigmoid(x: Any) -> Any:
        e = math.exp(-abs(x))
        return (one if x >= zero else e) / (one + e)

    def hard_sigmoid(x: Any) -> Any:
        y = x + three
        y = zero if y < zero else y
        return (six if y > six else y) / six

    def hard_sigmoid_keras2(x: Any) -> Any:
        y = fifth * x + half
        y = zero if y < zero else y
        return one if y > one else y

    def tanh(x: Any) -> Any:
        return math.tanh(x)

    def exp(x: Any) -> Any:
        return math.exp(x)

    def fast_sigmoid(x: Any) -> Any:
        return ptx.reciprocal_approx(one + ptx.exp2_approx(minus_log2_e * x))

    def fast_tanh(x: Any) -> Any:
        return two * ptx.reciprocal_approx(one + ptx.exp2_approx(two * minus_log2_e * x)) - one

    functions = (
        *(linear, relu, sigmoid, hard_sigmoid, hard_sigmoid_keras2, tanh, exp),
        *(fast_sigmoid, fast_tanh),
    )
    by_name = {f.__name__: f for f in functions}
    if (name == "sigmoid" and real == np.float32) or (name == "tanh" and fast):
        name = f"fast_{name}"
    return inlined(by_name[name])


@cache
def slope(name: str, real: Any) -> Any:
    """Device function: the derivative where the activation's value is y."""
    zero, one = real(0), real(1)
    sixth, fifth = one / real(6), one / real(5)

    def linear(y: Any) -> Any:
        return one

    def relu(y: Any) -> Any:
        return one if y > zero else zero

    def sigmoid(y: Any) -> Any:
        return y * (one - y)

    def hard_sigmoid(y: Any) -> Any:
        return sixth if y > zero and y < one else zero

    def hard_sigmoid_keras2(y: Any) -> Any:
        return fifth if y > zero and y < one else zero

    def tanh(y: Any) -> Any:
        return one - y * y

    functions = (linear, relu, sigmoid, hard_sigmoid, hard_sigmoid_keras2, tanh)
    return inlined(next(f for f in functions if f.__name__ == name))
