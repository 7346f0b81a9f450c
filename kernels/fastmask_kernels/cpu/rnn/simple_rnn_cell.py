"""The SimpleRNN's step after its matrix products."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ..simd import I64, Emitter, data_pointer
from .activations import emit_activation, emit_all_are
from .functions import call_function

PANEL = 4  # most registers of units side by side
_i8 = types.int64


@intrinsic
def rnn_cell(
    typingctx: Any,
    vectors: Any,
    rows: Any,
    z: Any,
    z_start: Any,
    h: Any,
    h_start: Any,
    index: Any,
    activation: Any,
) -> Any:
    """h of `vectors` vectors of units for `rows` rows of z; row i is at index[i] of h."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = [data_pointer(context, builder, sig.args[i], args[i]) for i in (2, 4, 6)]
        rows_of = [builder.gep(data[n], [args[2 * n + 3]]) for n in range(2)]
        values = [*args[:2], *rows_of, data[2], args[7]]
        call_function(builder, f"fastmask_rnn_cell_{z.dtype}", values, emit_rows)
        return context.get_dummy_value()

    def emit_rows(builder: Any, values: Any) -> None:
        emit = Emitter(builder, z.dtype)
        width, count, z_rows, h_rows, offsets, act = values
        usual = emit_all_are(emit, {"tanh": act})
        with emit.loop(count) as i, emit.loop(width) as v:
            left = builder.mul(v, I64(emit.lanes))
            start = builder.add(builder.mul(i, I64(PANEL * emit.lanes)), left)
            x = emit.load(z_rows, start)
            at = builder.add(builder.load(builder.gep(offsets, [i])), left)
            with builder.if_else(usual) as (then, otherwise):
                with then:
                    emit.store(builder.fdiv(*emit.tanh_fraction(x)), h_rows, at)
                with otherwise:
                    emit.store(emit_activation(emit, act, x), h_rows, at)

    return types.void(_i8, _i8, z, _i8, h, _i8, index, _i8), codegen
