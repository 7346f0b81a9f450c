"""The LSTM's step after its matrix products: gates, new cell state, new output."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ..simd import I64, Emitter, data_pointer
from .activations import emit_activation, emit_all_are
from .functions import call_function

GATES = 4
_i8 = types.int64


@intrinsic
def lstm_cell(
    typingctx: Any,
    rows: Any,
    apart: Any,
    z: Any,
    z_start: Any,
    h: Any,
    h_start: Any,
    c: Any,
    c_start: Any,
    index: Any,
    activation: Any,
    recurrent_activation: Any,
    save: Any,
) -> Any:
    """c, h of one vector of units for `rows` rows of z; row i is at index[i] of c and of h.

    Gates stand `apart` elements from each other: where that is less than a register, what one
    has behind its last unit belongs to the next, which is stored after it. Where `save` is not 0
    the activated gates are left in z.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = [data_pointer(context, builder, sig.args[i], args[i]) for i in (2, 4, 6, 8)]
        rows_of = [builder.gep(data[n], [args[2 * n + 3]]) for n in range(3)]
        values = [*args[:2], *rows_of, data[3], *args[9:]]
        call_function(builder, f"fastmask_lstm_cell_{z.dtype}", values, emit_rows)
        return context.get_dummy_value()

    def emit_rows(builder: Any, values: Any) -> None:
        emit = Emitter(builder, z.dtype)
        count, distance, z_rows, h_rows, c_rows, offsets, act, recurrent_act, save_gates = values
        places = [builder.mul(distance, I64(v)) for v in range(GATES)]
        usual = emit_all_are(emit, {"tanh": act, "sigmoid": recurrent_act})
        saving = builder.icmp_signed("!=", save_gates, I64(0))
        with emit.loop(count) as i:
            gates = emit.at(z_rows, builder.mul(i, I64(GATES * emit.lanes)))
            zi, zf, zg, zo = (emit.load(gates, place) for place in places)
            at = builder.load(builder.gep(offsets, [i]))
            c_old = emit.load(c_rows, at)
            with builder.if_else(usual) as (then, otherwise):
                with then:
                    c_new, h_new, fractions = _usual_step(emit, zi, zf, zg, zo, c_old)
                    emit.store(c_new, c_rows, at)
                    emit.store(h_new, h_rows, at)
                    with builder.if_then(saving):
                        for place, fraction in zip(places, fractions):
                            emit.store(builder.fdiv(*fraction), gates, place)
                with otherwise:
                    codes = (recurrent_act, recurrent_act, act, recurrent_act)
                    activated = [
                        emit_activation(emit, code, z) for code, z in zip(codes, (zi, zf, zg, zo))
                    ]
                    for place, gate in zip(places, activated):
                        emit.store(gate, gates, place)
                    i_gate, f_gate, value, o_gate = activated
                    c_new = builder.fadd(builder.fmul(f_gate, c_old), builder.fmul(i_gate, value))
                    h_new = builder.fmul(o_gate, emit_activation(emit, act, c_new))
                    emit.store(c_new, c_rows, at)
                    emit.store(h_new, h_rows, at)

    signature = types.void(_i8, _i8, z, _i8, h, _i8, c, _i8, index, _i8, _i8, _i8)
    return signature, codegen


def _usual_step(
    emit: Emitter, zi: Any, zf: Any, zg: Any, zo: Any, c: Any
) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    """tanh and sigmoid as fractions: three divisions instead of five.

    Returns c, h, and (numerator, denominator) of each gate.
    """
    b, one = emit.builder, emit.const(1.0)
    di, df, do = (emit.sigmoid_fraction(z, share) for z, share in ((zi, 0.49), (zf, 1), (zo, 0.49)))
    g, dg = emit.tanh_fraction(zg)
    c_new = b.fadd(b.fdiv(c, df), b.fdiv(g, b.fmul(dg, di)))
    numerator, denominator = emit.tanh_fraction(c_new)
    h_new = b.fdiv(numerator, b.fmul(denominator, do))
    return c_new, h_new, [(one, di), (one, df), (g, dg), (one, do)]
