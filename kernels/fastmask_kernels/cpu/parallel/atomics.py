"""Atomic integers in an int64 array, for kernels whose threads share work."""

from __future__ import annotations

import os
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..simd import I32, data_pointer

_i8 = types.int64
yield_thread = types.ExternalFunction(
    "SwitchToThread" if os.name == "nt" else "sched_yield", types.int32()
)


def item_pointer(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """A pointer to array[index]; these are the first two arguments."""
    return builder.gep(data_pointer(context, builder, sig.args[0], args[0]), [args[1]])


@intrinsic
def atomic_load(typingctx: Any, array: Any, index: Any) -> Any:
    """array[index]; everything that its last writer wrote before it is visible then."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(item_pointer(context, builder, sig, args), "acquire", 8)

    return _i8(array, _i8), codegen


@intrinsic
def atomic_store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Set array[index]; a thread that sees it sees everything that this one wrote before."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store_atomic(args[2], item_pointer(context, builder, sig, args), "release", 8)
        return context.get_dummy_value()

    return types.void(array, _i8, _i8), codegen


@intrinsic
def atomic_add(typingctx: Any, array: Any, index: Any, amount: Any) -> Any:
    """Add to array[index]; returns the old value."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.atomic_rmw(
            "add", item_pointer(context, builder, sig, args), args[2], "seq_cst"
        )

    return _i8(array, _i8, _i8), codegen


@intrinsic
def atomic_replace(typingctx: Any, array: Any, index: Any, old: Any, new: Any) -> Any:
    """Set array[index] to `new` if it is `old`; returns whether it was."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        slot = item_pointer(context, builder, sig, args)
        result = builder.cmpxchg(slot, args[2], args[3], "seq_cst", "monotonic")
        return builder.extract_value(result, 1)

    return types.boolean(array, _i8, _i8, _i8), codegen


@intrinsic
def spin_hint(typingctx: Any) -> Any:
    """Tell the processor that this thread waits in a loop."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        triple = builder.module.triple
        if triple.startswith(("x86", "i386", "i686")):
            name, arguments = "llvm.x86.sse2.pause", []
        elif triple.startswith(("aarch64", "arm64")):
            name, arguments = "llvm.aarch64.hint", [I32(1)]
        else:
            return context.get_dummy_value()
        signature = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
        hint = cgutils.get_or_insert_function(builder.module, signature, name)
        builder.call(hint, arguments)
        return context.get_dummy_value()

    return types.void(), codegen
