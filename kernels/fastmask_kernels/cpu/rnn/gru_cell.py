"""The GRU's step after its matrix products; a row of sums holds n, z, r, q (see `spec`)."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ..simd import I64, Emitter, data_pointer
from .activations import emit_activation, emit_all_are
from .functions import call_function

SUMS = 4
_i8 = types.int64


@intrinsic
def gru_reset(
    typingctx: Any,
    rows: Any,
    z: Any,
    z_start: Any,
    h: Any,
    h_start: Any,
    c: Any,
    c_start: Any,
    index: Any,
    recurrent_activation: Any,
    save: Any,
) -> Any:
    """c = r * h of one vector of units, for the GRU without `reset_after`.

    Row i is at index[i] of c and of h. Where `save` is not 0 r and r * h are left in z.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = [data_pointer(context, builder, sig.args[i], args[i]) for i in (1, 3, 5, 7)]
        rows_of = [builder.gep(data[n], [args[2 * n + 2]]) for n in range(3)]
        values = [args[0], *rows_of, data[3], *args[8:]]
        call_function(builder, f"fastmask_gru_reset_{z.dtype}", values, emit_rows)
        return context.get_dummy_value()

    def emit_rows(builder: Any, values: Any) -> None:
        emit = Emitter(builder, z.dtype)
        count, z_rows, h_rows, c_rows, offsets, act, save_gates = values
        usual = emit_all_are(emit, {"sigmoid": act})
        saving = builder.icmp_signed("!=", save_gates, I64(0))

        def keep(sums: Any, r: Any, kept: Any) -> None:
            emit.store(r, sums, 2 * emit.lanes)
            emit.store(kept, sums, 3 * emit.lanes)

        with emit.loop(count) as i:
            sums = emit.at(z_rows, builder.mul(i, I64(SUMS * emit.lanes)))
            zr = emit.load(sums, 2 * emit.lanes)
            at = builder.load(builder.gep(offsets, [i]))
            h_old = emit.load(h_rows, at)
            with builder.if_else(usual) as (then, otherwise):
                with then:
                    denominator = emit.sigmoid_fraction(zr)
                    kept = builder.fdiv(h_old, denominator)
                    emit.store(kept, c_rows, at)
                    with builder.if_then(saving):
                        keep(sums, builder.fdiv(emit.const(1.0), denominator), kept)
                with otherwise:
                    r = emit_activation(emit, act, zr)
                    kept = builder.fmul(r, h_old)
                    emit.store(kept, c_rows, at)
                    keep(sums, r, kept)

    return types.void(_i8, z, _i8, h, _i8, c, _i8, index, _i8, _i8), codegen


def gru_update(reset_after: bool) -> Any:
    """The last part of the step in one of its two forms, for compiled kernels to call."""

    @intrinsic
    def update(
        typingctx: Any,
        rows: Any,
        z: Any,
        z_start: Any,
        h: Any,
        old: Any,
        new: Any,
        index: Any,
        activation: Any,
        recurrent_activation: Any,
        save: Any,
    ) -> Any:
        """h of one vector of units for `rows` rows of z; row i is index[i] behind old and new.

        Where `save` is not 0 n, z, r, q are left in z.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            data = [data_pointer(context, builder, sig.args[i], args[i]) for i in (1, 3, 6)]
            rows_of = [
                builder.gep(array, [args[start]])
                for array, start in zip((*data[:2], data[1]), (2, 4, 5))
            ]
            values = [args[0], *rows_of, data[2], *args[7:]]
            name = f"fastmask_gru_update_{int(reset_after)}_{z.dtype}"
            call_function(builder, name, values, emit_rows)
            return context.get_dummy_value()

        def emit_rows(builder: Any, values: Any) -> None:
            emit = Emitter(builder, z.dtype)
            count, z_rows, old_rows, new_rows, offsets, act, recurrent_act, save_gates = values
            usual = emit_all_are(emit, {"tanh": act, "sigmoid": recurrent_act})
            saving = builder.icmp_signed("!=", save_gates, I64(0))
            with emit.loop(count) as i:
                sums = emit.at(z_rows, builder.mul(i, I64(SUMS * emit.lanes)))
                at = builder.load(builder.gep(offsets, [i]))
                h_old = emit.load(old_rows, at)
                step = _Step(emit, sums, h_old, reset_after)
                with builder.if_else(usual) as (then, otherwise):
                    with then:
                        emit.store(step.usual(saving), new_rows, at)
                    with otherwise:
                        emit.store(step.general(act, recurrent_act), new_rows, at)

        return types.void(_i8, z, _i8, h, _i8, _i8, index, _i8, _i8, _i8), codegen

    return update


class _Step:
    """Emits h' = z h + (1 - z) n in two ways."""

    def __init__(self, emit: Emitter, sums: Any, h: Any, reset_after: bool) -> None:
        self.emit, self.sums, self.h, self.reset_after = emit, sums, h, reset_after
        self.zn, self.zz, self.zr, self.q = (emit.load(sums, v * emit.lanes) for v in range(SUMS))

    def usual(self, saving: Any) -> Any:
        """tanh and sigmoid as fractions; h' = n + (h - n) z saves a division."""
        emit, b, x = self.emit, self.emit.builder, self.zn
        denominators = [emit.sigmoid_fraction(self.zz)]
        if self.reset_after:
            denominators.append(emit.sigmoid_fraction(self.zr))
            x = b.fadd(x, b.fdiv(self.q, denominators[1]))
        n = b.fdiv(*emit.tanh_fraction(x))
        with b.if_then(saving):
            emit.store(n, self.sums)
            for v, denominator in enumerate(denominators):
                emit.store(b.fdiv(emit.const(1.0), denominator), self.sums, (v + 1) * emit.lanes)
        return b.fadd(n, b.fdiv(b.fsub(self.h, n), denominators[0]))

    def general(self, activation: Any, recurrent_activation: Any) -> Any:
        """Any activations; their results take the place of their arguments."""
        emit, b, x = self.emit, self.emit.builder, self.zn
        if self.reset_after:
            r = emit_activation(emit, recurrent_activation, self.zr)
            emit.store(r, self.sums, 2 * emit.lanes)
            x = b.fadd(x, b.fmul(r, self.q))
        n = emit_activation(emit, activation, x)
        z = emit_activation(emit, recurrent_activation, self.zz)
        emit.store(n, self.sums)
        emit.store(z, self.sums, emit.lanes)
        rest = b.fsub(emit.const(1.0), z)
        return b.fadd(b.fmul(z, self.h), b.fmul(rest, n))
