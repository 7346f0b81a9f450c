"""The backward step of one register's width of units: code generated from the cell's formula.

In the blocks of `gates` the gradients of the sums overwrite what the forward pass saved; see
`cells.rounds` for what else is read and written, and when.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...cells import Cell
from ...cells.rounds import Backward, Place, Round
from ...formula import Symbol
from ..simd import I64, Emitter, data_pointer
from .emit import FormulaEmitter, Functions, each_choice

PANEL = 4  # registers of units that are computed together
_i8 = types.int64


class _Row:
    """Loads and stores of one row, for one register of units."""

    def __init__(self, emit: Emitter, views: list[Any], at: Any) -> None:
        batch, state, scratch = views
        self._emit, self._batch, self._state, self._at = emit, batch, state, at
        b = emit.builder

        def row(index: Any) -> Any:
            return b.add(b.load(b.gep(index, [at.row])), at.unit)

        self._gates = emit.at(batch.gates, row(scratch.gates))
        self._after, self._before = row(scratch.after), row(scratch.before)
        self._planes = b.load(b.gep(scratch.state, [at.row]))
        own_z = b.add(b.mul(at.row, I64(PANEL * emit.lanes)), b.mul(at.vector, I64(emit.lanes)))
        self._z = emit.at(scratch.z, own_z)

    def load(self, symbol: Symbol, place: Place) -> Any:
        """A vector of values."""
        emit, batch, (kind, number) = self._emit, self._batch, place
        if kind == "product":
            return emit.load(self._z)
        if kind == "plane":
            return emit.load(self._plane(number), self._at.unit)
        if kind == "total":
            return self._mean(number, symbol.args[0].args[0])
        if kind == "block":
            return emit.load_part(self._gates, self._block(number), self._at.columns)
        if kind == "vector":
            return emit.load_part(batch.vectors[number], self._at.unit, self._at.columns)
        if kind == "after":
            return emit.load_part(batch.states[number], self._after, self._at.columns)
        has_before = emit.builder.icmp_signed(">", self._at.step, I64(0))
        states = emit.builder.select(has_before, batch.states[number], batch.first[number])
        return emit.load_part(states, self._before, self._at.columns)

    def store(self, value: Any, place: Place) -> None:
        """Write a vector of values."""
        emit, columns = self._emit, self._at.columns
        if place.kind == "block":
            emit.store_part(value, self._gates, self._block(place.number), columns)
            return
        if place.kind == "total":
            value = emit.builder.select(emit.first_lanes(columns), value, emit.const(0.0))
        emit.store(value, self._plane(place.number), self._at.unit)

    def _block(self, number: int) -> Any:
        return self._emit.builder.mul(self._batch.units, I64(number))

    def _plane(self, number: int) -> Any:
        start = self._emit.builder.mul(self._state.stride, I64(number))
        return self._emit.at(self._state.planes, self._emit.builder.add(self._planes, start))

    def _mean(self, number: int, values: int) -> Any:
        """The mean over all units of a row of `values` values, whose sum is in a plane."""
        emit, b = self._emit, self._emit.builder
        plane = self._plane(number)
        read, write = emit.variable(emit.const(0.0))
        with emit.loop(b.sdiv(self._state.stride, I64(emit.lanes))) as v:
            write(b.fadd(read(), emit.load(plane, b.mul(v, I64(emit.lanes)))))
        count = b.sitofp(b.mul(self._batch.units, I64(values)), emit.scalar)
        return emit.splat(b.fdiv(emit.sum_lanes(read()), count))


def _views(context: Any, builder: Any, ty: Any, value: Any) -> Any:
    """The fields of a named tuple: pointers of views, tuples of pointers, numbers."""

    def view(field_type: Any, field: Any) -> Any:
        if isinstance(field_type, types.UniTuple):
            fields = cgutils.unpack_tuple(builder, field)
            return [view(field_type.dtype, one) for one in fields]
        if isinstance(field_type, (types.Array, types.CPointer)):
            return data_pointer(context, builder, field_type, field)
        return field

    fields = zip(ty.fields, ty.types, cgutils.unpack_tuple(builder, value), strict=True)
    return SimpleNamespace(**{name: view(*field) for name, *field in fields})


def cell_gradient(cell: Cell, backward: Backward) -> Any:
    """One round of a step of a cell, for compiled kernels to call."""

    @intrinsic
    def gradient(
        typingctx: Any,
        batch: Any,
        state: Any,
        scratch: Any,
        number: Any,
        step: Any,
        rows: Any,
        vector: Any,
        unit: Any,
        columns: Any,
    ) -> Any:
        """Run round `number` of a step for `rows` rows, for the units from `unit` on."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            views = [
                _views(context, builder, *pair) for pair in zip(sig.args[:3], args[:3], strict=True)
            ]
            emit = Emitter(builder, scratch.types[0].dtype)
            number, step, rows, vector, unit, columns = args[3:]
            at = SimpleNamespace(step=step, vector=vector, unit=unit, columns=columns)
            done = builder.append_basic_block("done")
            switch = builder.switch(number, done)
            for case, each in enumerate(backward.rounds):
                block = builder.append_basic_block(f"round_{case}")
                switch.add_case(I64(case), block)
                builder.position_at_end(block)
                for chosen in each_choice(emit, cell.activations, views[1]):
                    _emit_rows(emit, each, views, at, rows, chosen)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return types.void(batch, state, scratch, *[_i8] * 6), codegen

    return gradient


def _emit_rows(
    emit: Emitter, each: Round, views: list[Any], at: Any, rows: Any, chosen: Functions
) -> None:
    """Emit a round of some rows."""
    with emit.loop(rows) as at.row:
        row = _Row(emit, views, at)
        known = {symbol: row.load(symbol, place) for symbol, place in each.loads.items()}
        formulas = FormulaEmitter(emit, known, (), chosen)
        for symbol in each.computed:  # as vectors: few are fractions, and slopes need vectors
            formulas.vector(symbol)
        for stored, place in each.stores:
            row.store(emit.const(0.0) if stored is None else formulas.vector(stored), place)


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
