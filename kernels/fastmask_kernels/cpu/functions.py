"""Functions of an LLVM module that are emitted by hand, and never inlined.

Code that is inlined into a time loop shares the registers with everything around it: its constants
would be loaded again for every row.
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
        name: unique in the module.
        values: the arguments.
        emit_body: emits its body, if the module has none yet, from a builder and the arguments.
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
