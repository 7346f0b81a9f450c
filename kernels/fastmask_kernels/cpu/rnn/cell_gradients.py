"""One step's backward of the three cells, for one register's width of units.

Gates arrive as their activated values and leave as the gradients of what the activations were
applied to. With dh, the gradient of a step's output h, and s' the slope of an activation:

    LSTM                                   GRU
    a  = act(c)                            dz = dh (h_before - n) z'
    dc = carry + dh o a'                   dn = dh (1 - z) n'
    di = dc g i'      df = dc c_before f'  dr = dq_n h_n r'
    dg = dc i g'      do = dh a o'
    carry = dc f                           carry = dh z
    SimpleRNN
    d  = dh h'

In a GRU with `reset_after` h_n is q, and its gradient dn r takes the place of q. Without, h_n is
h_before, and its gradient r * (dn U_n^T) needs dn of all units: that is a second round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..simd import I64, Emitter, data_pointer
from .activations import SLOPES, VALUES, Emit, emit_activation, emit_all_are, emit_slope

PANEL = 4  # registers' widths of units that are computed in one go
_i8 = types.int64


class _Functions(NamedTuple):
    """What cells apply to vectors."""

    activate: Emit
    slope: Emit  # of the activation, from its value
    recurrent_slope: Emit


_USUAL = _Functions(VALUES["tanh"], SLOPES["tanh"], SLOPES["sigmoid"])


def _any(activation: Any, recurrent_activation: Any) -> _Functions:
    return _Functions(
        lambda emit, x: emit_activation(emit, activation, x),
        lambda emit, y: emit_slope(emit, activation, y),
        lambda emit, y: emit_slope(emit, recurrent_activation, y),
    )


class _Step:
    """What a cell sees of one row: loads and stores of the units at hand."""

    def __init__(
        self,
        emit: Emitter,
        units: Any,
        columns: Any,
        z: Any,
        carry: Any,
        gates: Any,
        after: Any,
        before: Any,
    ) -> None:
        self.emit, self._units, self._columns = emit, units, columns
        self._z, self._carry, self._gates = z, carry, gates
        self._after, self._before = after, before

    def _gate(self, number: int) -> Any:
        return self.emit.builder.mul(self._units, I64(number))

    def gate(self, number: int) -> Any:
        return self.emit.load_part(self._gates, self._gate(number), self._columns)

    def set_gate(self, number: int, value: Any) -> None:
        self.emit.store_part(value, self._gates, self._gate(number), self._columns)

    def product(self) -> Any:
        """What reaches the step: dh, or in a second round that round's product."""
        return self.emit.load(self._z)

    def after(self) -> Any:
        """The state after the step: c of an LSTM, else h."""
        return self.emit.load_part(self._after, 0, self._columns)

    def before(self) -> Any:
        """The same state before the step."""
        return self.emit.load_part(self._before, 0, self._columns)

    def carry(self) -> Any:
        return self.emit.load(self._carry)

    def set_carry(self, value: Any) -> None:
        self.emit.store(value, self._carry)


def _lstm(step: _Step, functions: _Functions) -> None:
    emit, b = step.emit, step.emit.builder
    i, f, g, o = (step.gate(number) for number in range(4))
    dh, a = step.product(), functions.activate(emit, step.after())
    dc = emit.fma(b.fmul(dh, o), functions.slope(emit, a), step.carry())
    step.set_gate(0, b.fmul(b.fmul(dc, g), functions.recurrent_slope(emit, i)))
    step.set_gate(1, b.fmul(b.fmul(dc, step.before()), functions.recurrent_slope(emit, f)))
    step.set_gate(2, b.fmul(b.fmul(dc, i), functions.slope(emit, g)))
    step.set_gate(3, b.fmul(b.fmul(dh, a), functions.recurrent_slope(emit, o)))
    step.set_carry(b.fmul(dc, f))


def _gru_update(step: _Step, functions: _Functions) -> Any:
    """What both kinds of GRU begin with; returns dn."""
    emit, b = step.emit, step.emit.builder
    n, z, dh = step.gate(0), step.gate(1), step.product()
    dn = b.fmul(b.fmul(dh, b.fsub(emit.const(1.0), z)), functions.slope(emit, n))
    step.set_gate(0, dn)
    dz = b.fmul(b.fmul(dh, b.fsub(step.before(), n)), functions.recurrent_slope(emit, z))
    step.set_gate(1, dz)
    step.set_carry(b.fmul(dh, z))
    return dn


def _gru_reset_after(step: _Step, functions: _Functions) -> None:
    emit, b = step.emit, step.emit.builder
    dn, r, q = _gru_update(step, functions), step.gate(2), step.gate(3)
    step.set_gate(2, b.fmul(b.fmul(dn, q), functions.recurrent_slope(emit, r)))
    step.set_gate(3, b.fmul(dn, r))


def _gru_reset_before(step: _Step, functions: _Functions) -> None:
    _gru_update(step, functions)


def _gru_second_round(step: _Step, functions: _Functions) -> None:
    emit, b = step.emit, step.emit.builder
    dq, r = step.product(), step.gate(2)
    step.set_gate(2, b.fmul(b.fmul(dq, step.before()), functions.recurrent_slope(emit, r)))
    step.set_carry(emit.fma(dq, r, step.carry()))


def _rnn(step: _Step, functions: _Functions) -> None:
    emit, b = step.emit, step.emit.builder
    step.set_gate(0, b.fmul(step.product(), functions.slope(emit, step.after())))


def _intrinsic(emit_cell: Callable[[_Step, _Functions], None]) -> Any:
    def gradient(
        typingctx: Any,
        batch: Any,
        net: Any,
        scratch: Any,
        k: Any,
        rows: Any,
        vector: Any,
        unit: Any,
        columns: Any,
    ) -> Any:
        """Step k of the units from `unit` on, for `rows` rows; see `backward`."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            fields: dict[str, Any] = {}
            for ty, value in zip(sig.args[:3], args[:3]):
                values = cgutils.unpack_tuple(builder, value)
                for name, field_type, field in zip(ty.fields, ty.types, values):
                    is_view = isinstance(field_type, (types.Array, types.CPointer))
                    view = data_pointer(context, builder, field_type, field) if is_view else field
                    fields[f"{name} of {ty.instance_class.__name__}"] = view
            _emit_rows(Emitter(builder, scratch.types[0].dtype), emit_cell, fields, *args[3:])
            return context.get_dummy_value()

        return types.void(batch, net, scratch, _i8, _i8, _i8, _i8, _i8), codegen

    return intrinsic(gradient)


def _emit_rows(
    emit: Emitter,
    emit_cell: Callable[[_Step, _Functions], None],
    fields: dict[str, Any],
    k: Any,
    rows: Any,
    vector: Any,
    unit: Any,
    columns: Any,
) -> None:
    b = emit.builder
    codes = fields["activation of Net"], fields["recurrent_activation of Net"]
    usual = emit_all_are(emit, {"tanh": codes[0], "sigmoid": codes[1]})
    states, first_states = fields["states of Batch"], fields["first_states of Batch"]
    before = b.select(b.icmp_signed(">", k, I64(0)), states, first_states)
    z = emit.at(fields["z of Scratch"], b.mul(vector, I64(emit.lanes)))
    places = (
        (fields["carry of Net"], fields["state of Scratch"]),
        (fields["gates of Batch"], fields["gates of Scratch"]),
        (states, fields["after of Scratch"]),
        (before, fields["before of Scratch"]),
    )
    with emit.loop(rows) as i:
        pointers = [
            emit.at(emit.at(base, b.load(b.gep(index, [i]))), unit) for base, index in places
        ]
        row = emit.at(z, b.mul(i, I64(PANEL * emit.lanes)))
        step = _Step(emit, fields["units of Batch"], columns, row, *pointers)
        with b.if_else(usual) as (then, otherwise):
            with then:
                emit_cell(step, _USUAL)
            with otherwise:
                emit_cell(step, _any(*codes))


lstm_gradient = _intrinsic(_lstm)
gru_gradient_reset_after = _intrinsic(_gru_reset_after)
gru_gradient_reset_before = _intrinsic(_gru_reset_before)
gru_second_round = _intrinsic(_gru_second_round)
rnn_gradient = _intrinsic(_rnn)


@intrinsic
def sum_rows(
    typingctx: Any,
    z: Any,
    z_start: Any,
    source: Any,
    start: Any,
    stride: Any,
    count: Any,
    columns: Any,
) -> Any:
    """z[z_start + i] = sum over j < count of source[start + j * stride + i], i < columns.

    The rest of the register gets zeros.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit = Emitter(builder, z.dtype)
        target = emit.at(data_pointer(context, builder, sig.args[0], args[0]), args[1])
        first = emit.at(data_pointer(context, builder, sig.args[2], args[2]), args[3])
        read, write = emit.variable(emit.const(0.0))
        with emit.loop(args[5]) as j:
            row = emit.load_part(first, builder.mul(j, args[4]), args[6])
            write(builder.fadd(read(), row))
        emit.store(read(), target)
        return context.get_dummy_value()

    return types.void(z, _i8, source, _i8, _i8, _i8, _i8), codegen


@intrinsic
def add_part(
    typingctx: Any, z: Any, z_start: Any, source: Any, source_start: Any, columns: Any
) -> Any:
    """z[z_start + i] += source[source_start + i], i < columns <= lanes; z has a whole register."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit = Emitter(builder, z.dtype)
        target = emit.at(data_pointer(context, builder, sig.args[0], args[0]), args[1])
        source_row = emit.at(data_pointer(context, builder, sig.args[2], args[2]), args[3])
        more = emit.load_part(source_row, 0, args[4])
        emit.store(builder.fadd(emit.load(target), more), target)
        return context.get_dummy_value()

    return types.void(z, _i8, source, _i8, _i8), codegen


@intrinsic
def activate_row(typingctx: Any, values: Any, start: Any, count: Any, activation: Any) -> Any:
    """values[start + i] = activation(values[start + i]), i < count."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit = Emitter(builder, values.dtype)
        row = emit.at(data_pointer(context, builder, sig.args[0], args[0]), args[1])
        width = I64(emit.lanes)
        with emit.loop(builder.sdiv(builder.add(args[2], I64(emit.lanes - 1)), width)) as i:
            at = builder.mul(i, width)
            left = builder.sub(args[2], at)
            columns = builder.select(builder.icmp_signed("<", left, width), left, width)
            value = emit_activation(emit, args[3], emit.load_part(row, at, columns))
            emit.store_part(value, row, at, columns)
        return context.get_dummy_value()

    return types.void(values, _i8, _i8, _i8), codegen
