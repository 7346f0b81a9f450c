"""Functions of a module that are written by hand, and stay functions.

What is inlined into a time loop shares the registers with everything around it: its constants
are then loaded anew for every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir


def call_function(
    builder: Any, name: str, values: Sequence[Any], emit_body: Callable[[Any, Any], None]
) -> None:
    """Call function `name` of the module being written.

    Args:
        builder: llvmlite IRBuilder at the call.
        name: tells it from all others of the module.
        values: what it is called with.
        emit_body: writes its body, when the module has none yet, given a builder and the
            arguments.
    """
    module = builder.module
    function = module.globals.get(name)
    if function is None:
        signature = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        function = ir.Function(module, signature, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        emit_body(inside, function.args)
        inside.ret_void()
    builder.call(function, values)
