"""Activations of vectors and their derivatives, chosen when a kernel runs.

Every derivative is computed from the activation's value, which is all that a forward pass keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

from llvmlite import ir

from ...spec import ACTIVATIONS
from ..simd import I64, Emitter

CODES = {name: code for code, name in enumerate(ACTIVATIONS)}


def codes_of(call: Any) -> tuple[int, int]:
    """The codes of a call's two activations, of state and gates; arbitrary for a missing one."""
    state = getattr(call, "activation", "linear")
    return CODES[state], CODES[getattr(call, "recurrent_activation", state)]


def _tanh(emit: Emitter, x: Any) -> Any:
    return emit.builder.fdiv(*emit.tanh_fraction(x))


def _sigmoid(emit: Emitter, x: Any) -> Any:
    b = emit.builder
    # The fraction never reaches 0. The formula does, and 0 times infinity has to be NaN.
    vanished = b.fcmp_ordered("<", x, emit.const(-emit.format.limit * math.log(2)))
    return b.select(vanished, emit.const(0.0), b.fdiv(emit.const(1.0), emit.sigmoid_fraction(x)))


def _relu(emit: Emitter, x: Any) -> Any:
    zero = emit.const(0.0)
    return emit.builder.select(emit.builder.fcmp_ordered("<", x, zero), zero, x)


def _hard_sigmoid(emit: Emitter, x: Any) -> Any:
    shifted = emit.builder.fadd(x, emit.const(3.0))
    return emit.builder.fdiv(emit.clamp(shifted, 0.0, 6.0), emit.const(6.0))


def _hard_sigmoid_keras2(emit: Emitter, x: Any) -> Any:
    return emit.clamp(emit.fma(x, emit.const(0.2), emit.const(0.5)), 0.0, 1.0)


def _slope_of_tanh(emit: Emitter, y: Any) -> Any:
    return emit.fma(emit.builder.fneg(y), y, emit.const(1.0))


def _slope_of_sigmoid(emit: Emitter, y: Any) -> Any:
    return emit.fma(emit.builder.fneg(y), y, y)


def _slope_of_relu(emit: Emitter, y: Any) -> Any:
    rising = emit.builder.fcmp_ordered(">", y, emit.const(0.0))
    return emit.builder.select(rising, emit.const(1.0), emit.const(0.0))


def _slope_of_hard_sigmoid(emit: Emitter, y: Any, rise: float = 1 / 6) -> Any:
    above = emit.builder.fcmp_ordered(">", y, emit.const(0.0))
    below = emit.builder.fcmp_ordered("<", y, emit.const(1.0))
    rising = emit.builder.and_(above, below)
    return emit.builder.select(rising, emit.const(rise), emit.const(0.0))


Emit = Callable[[Emitter, Any], Any]

VALUES: dict[str, Emit] = {
    "linear": lambda emit, x: x,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "hard_sigmoid_keras2": _hard_sigmoid_keras2,
    "tanh": _tanh,
}
SLOPES: dict[str, Emit] = {
    "linear": lambda emit, y: emit.const(1.0),
    "relu": _slope_of_relu,
    "sigmoid": _slope_of_sigmoid,
    "hard_sigmoid": _slope_of_hard_sigmoid,
    "hard_sigmoid_keras2": lambda emit, y: _slope_of_hard_sigmoid(emit, y, 1 / 5),
    "tanh": _slope_of_tanh,
}


def emit_all_are(emit: Emitter, codes: dict[str, Any]) -> Any:
    """Whether each code (an i64 value) is that of the activation that it is listed under."""
    b = emit.builder
    checks = [b.icmp_signed("==", code, I64(CODES[name])) for name, code in codes.items()]
    return reduce(b.and_, checks)


def emit_activation(emit: Emitter, code: Any, x: Any) -> Any:
    """Activation number `code` (an i64 value) of a vector: a call of one shared switch."""
    return _call_switch(emit, "activation", VALUES, code, x)


def emit_slope(emit: Emitter, code: Any, y: Any) -> Any:
    """Derivative of activation number `code` where its value is y, a vector."""
    return _call_switch(emit, "slope", SLOPES, code, y)


def _call_switch(emit: Emitter, what: str, cases: dict[str, Emit], code: Any, x: Any) -> Any:
    module = emit.builder.module
    name = f"fastmask_{what}_{emit.format.name}"
    function = module.globals.get(name)
    if function is None:
        signature = ir.FunctionType(emit.vector, [I64, emit.vector])
        function = ir.Function(module, signature, name)
        function.linkage = "internal"
        function.attributes.add("noinline")  # a copy at each call takes long to compile
        inner = Emitter(ir.IRBuilder(function.append_basic_block("entry")), emit.dtype)
        switch = inner.builder.switch(function.args[0], other := function.append_basic_block())
        for activation, emit_one in cases.items():
            block = function.append_basic_block(activation)
            switch.add_case(I64(CODES[activation]), block)
            inner.builder.position_at_end(block)
            inner.builder.ret(emit_one(inner, function.args[1]))
        inner.builder.position_at_end(other)
        inner.builder.unreachable()
    return emit.builder.call(function, [code, x])
