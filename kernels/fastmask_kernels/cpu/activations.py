"""Activations of vectors, chosen when a kernel runs."""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir

from ..spec import ACTIVATIONS
from .simd import I64, Emitter

CODES = {name: code for code, name in enumerate(ACTIVATIONS)}


def _tanh(emit: Emitter, x: Any) -> Any:
    return emit.builder.fdiv(*emit.tanh_fraction(x))


def _sigmoid(emit: Emitter, x: Any) -> Any:
    return emit.builder.fdiv(emit.const(1.0), emit.sigmoid_fraction(x))


def _relu(emit: Emitter, x: Any) -> Any:
    zero = emit.const(0.0)
    return emit.builder.select(emit.builder.fcmp_ordered("<", x, zero), zero, x)


def _hard_sigmoid(emit: Emitter, x: Any) -> Any:
    shifted = emit.builder.fadd(x, emit.const(3.0))
    return emit.builder.fdiv(emit.clamp(shifted, 0.0, 6.0), emit.const(6.0))


_EMIT = {"relu": _relu, "sigmoid": _sigmoid, "hard_sigmoid": _hard_sigmoid, "tanh": _tanh}


def emit_all_are(emit: Emitter, codes: dict[str, Any]) -> Any:
    """Whether the codes (i64 values) are those of the activations that they stand under."""
    b = emit.builder
    checks = [b.icmp_signed("==", code, I64(CODES[name])) for name, code in codes.items()]
    return reduce(b.and_, checks)


def emit_activation(emit: Emitter, code: Any, x: Any) -> Any:
    """Activation number `code` (an i64 value) of a vector: a call of one shared switch."""
    module = emit.builder.module
    name = f"fastmask_activation_{emit.format.name}"
    function = module.globals.get(name)
    if function is None:
        signature = ir.FunctionType(emit.vector, [I64, emit.vector])
        function = ir.Function(module, signature, name)
        function.linkage = "internal"
        inner = Emitter(ir.IRBuilder(function.append_basic_block("linear")), emit.dtype)
        switch = inner.builder.switch(function.args[0], linear := function.append_basic_block())
        for activation, emit_one in _EMIT.items():
            block = function.append_basic_block(activation)
            switch.add_case(I64(CODES[activation]), block)
            inner.builder.position_at_end(block)
            inner.builder.ret(emit_one(inner, function.args[1]))
        inner.builder.position_at_end(linear)
        inner.builder.ret(function.args[1])
    return emit.builder.call(function, [code, x])
