"""One round of a cell's step for a panel of units: code generated from the cell's formula."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from numba import types
from numba.extending import intrinsic

from ...cells.cell import Cell
from ...cells.rounds import Place
from ...formula import Symbol
from ...formula.symbols import EPSILON
from ..functions import call_function
from ..simd import I32, I64, Emitter, data_pointer
from .emit import FormulaEmitter, Functions, each_choice
from .rounds import Round, Rounds

_i8 = types.int64


class _Arguments(NamedTuple):
    """The arguments of a round's function: numbers, and pointers."""

    rows: Any
    count: Any  # registers of units
    apart: Any  # elements between the blocks of a unit
    units: Any  # of the layer
    left: Any  # the first unit
    z: Any  # the first row's sums
    states: Any  # the planes
    plane: Any  # elements of a plane
    new: Any  # where the plane of h after the step begins
    index: Any  # where each row's state begins in a plane
    vectors: Any  # the cell's vectors, a register of each
    activation: Any  # codes
    recurrent_activation: Any
    save: Any  # whether to leave in z what backward needs


def units_of_round(
    cell: Cell, rounds: Rounds, panel: int, row: int, series: Sequence[float] | None
) -> Any:
    """A function of a round's number and its `_Arguments`, for compiled kernels to call.

    Args:
        cell: the cell.
        rounds: its rounds.
        panel: most registers of units that are computed together.
        row: registers of a row of z.
        series: see `Emitter`.
    """

    @intrinsic
    def compute_units(
        typingctx: Any,
        number: Any,
        rows: Any,
        count: Any,
        apart: Any,
        units: Any,
        left: Any,
        z: Any,
        z_start: Any,
        states: Any,
        plane: Any,
        new: Any,
        index: Any,
        packed: Any,
        vectors: Any,
        activation: Any,
        recurrent_activation: Any,
        save: Any,
    ) -> Any:
        """Compute round `number` for `rows` rows and `count` registers of units, from `left` on.

        Blocks lie `apart` elements from each other. Where that is less than a register, the lanes
        after a block's last unit belong to the next block, which is stored later. `vectors` is
        where the panel's vectors begin in `packed`.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            data = {i: data_pointer(context, builder, sig.args[i], args[i]) for i in (6, 8, 11, 12)}
            values = [
                *args[1:6],
                builder.gep(data[6], [args[7]]),
                *(data[8], *args[9:11], data[11], builder.gep(data[12], [args[13]])),
                *args[14:],
            ]

            def call(n: int) -> None:
                def emit_body(inside: Any, arguments: Any) -> None:
                    emit = Emitter(inside, z.dtype, series)
                    _emit_rows(emit, cell, rounds.rounds[n], panel, row, _Arguments(*arguments))

                call_function(builder, f"fastmask_units_{n}_{z.dtype}", values, emit_body)

            call_one(builder, args[0], len(rounds.rounds), call)
            return context.get_dummy_value()

        signature = types.void(
            *(_i8, _i8, _i8, _i8, _i8, _i8, z, _i8, states, _i8, _i8, index, packed, _i8),
            *(_i8, _i8, _i8),
        )
        return signature, codegen

    return compute_units


def call_one(builder: Any, number: Any, count: int, call: Any) -> None:
    """Emit call(number) for a number that is known at run time."""
    if count == 1:
        call(0)
        return
    done = builder.append_basic_block("done")
    switch = builder.switch(number, done)
    for n in range(count):
        block = builder.append_basic_block(f"round_{n}")
        switch.add_case(I64(n), block)
        builder.position_at_end(block)
        call(n)
        builder.branch(done)
    builder.position_at_end(done)


def _emit_rows(emit: Emitter, cell: Cell, this: Round, panel: int, row: int, a: _Arguments) -> None:
    """Emit a loop over the rows of a round."""
    b = emit.builder
    saving = b.icmp_signed("!=", a.save, I64(0))
    with (
        emit.loop(a.rows) as i,
        emit.loop(a.count) if panel > 1 else nullcontext(I64(0)) as v,
    ):
        unit = b.mul(v, I64(emit.lanes))
        at = b.add(b.load(b.gep(a.index, [i])), unit)
        z = emit.at(a.z, b.add(b.mul(i, I64(row * emit.lanes)), unit))
        units = _Units(emit, cell, a, z, at, v)
        known = {symbol: units.load(place) for symbol, place in this.known.items()}
        for chosen in each_choice(emit, cell.activations, a):
            units.compute(this, known, chosen, saving)


class _Units:
    """One register of units of one row."""

    def __init__(
        self, emit: Emitter, cell: Cell, a: _Arguments, z: Any, at: Any, number: Any
    ) -> None:
        b = emit.builder
        self.emit, self.cell, self.a, self.z, self.at, self.number = emit, cell, a, z, at, number
        self.registers = b.udiv(b.add(a.units, I64(emit.lanes - 1)), I64(emit.lanes))

    def _pointer(self, place: Place) -> Any:
        emit, a, b = self.emit, self.a, self.emit.builder
        if place.kind == "block":
            return emit.at(self.z, b.mul(a.apart, I64(place.number)))
        if place.kind == "vector":
            vectors = len(self.cell.vectors)
            skipped = b.mul(self.number, I64(vectors * emit.lanes))
            return emit.at(emit.at(a.vectors, skipped), place.number * emit.lanes)
        if place.kind in ("old", "new"):
            plane = b.sub(a.plane, a.new) if place.kind == "old" else a.new
        else:
            plane = b.mul(a.plane, I64(place.number))
        row = emit.at(emit.at(a.states, plane), self.at)
        return row if place.kind == "moments" else emit.at(row, a.left)

    def load(self, place: Place) -> Any:
        """A value from where it is kept."""
        if place.kind == "moments":
            return self._moments(place)
        return self.emit.load(self._pointer(place))

    def compute(
        self, this: Round, known: dict[Symbol, Any], chosen: Functions, saving: Any
    ) -> None:
        """Compute a round's results, and store them once the inputs of all have been read."""
        b, emit = self.emit.builder, self.emit
        formula = FormulaEmitter(emit, known, this.roots, chosen)
        planes = [(place, formula.vector(s)) for place, s in this.planes.items()]
        always = [(k.block, formula.vector(k.symbol)) for k in this.kept if k.always]
        for place, group in this.moments.items():
            self._store_moments(place, [formula.vector(x) for x in group.args])
        for place, value in planes:
            emit.store(value, self._pointer(place))
        for block, value in always:
            emit.store(value, self._pointer(Place("block", block)))
        others = [k for k in this.kept if not k.always]
        if others and self.cell.keeps_gates:
            with b.if_then(saving):
                saved = [(k.block, formula.vector(k.symbol)) for k in others]
                for block, value in saved:
                    emit.store(value, self._pointer(Place("block", block)))

    def _store_moments(self, place: Place, values: list[Any]) -> None:
        """Store a register's mean and sum of squared deviations; T. F. Chan et al. (1979)."""
        emit, a, b = self.emit, self.a, self.emit.builder
        columns = b.sub(a.units, a.left)
        inside, zero = emit.first_lanes(columns), emit.const(0.0)

        def total(terms: list[Any]) -> Any:
            first, *others = (b.select(inside, term, zero) for term in terms)
            for other in others:
                first = b.fadd(first, other)
            return emit.splat(emit.sum_lanes(first))

        each = emit.const(len(values))
        units = emit.clamp(emit.splat(b.sitofp(columns, emit.scalar)), 0.0, emit.lanes)
        mean = b.fdiv(total(values), b.fmul(units, each))
        distances = [b.fsub(value, mean) for value in values]
        squares = b.fdiv(total([b.fmul(d, d) for d in distances]), each)
        register = b.udiv(a.left, I64(emit.lanes))
        pointer = emit.at(self._pointer(place), register)
        b.store(b.extract_element(mean, I32(0)), pointer)
        b.store(b.extract_element(squares, I32(0)), emit.at(pointer, self.registers))

    def _moments(self, place: Place) -> tuple[Any, Any]:
        """A row's mean and reciprocal standard deviation, always summed in the same order."""
        emit, a, b = self.emit, self.a, self.emit.builder
        means = self._pointer(place)
        squares, width = emit.at(means, self.registers), emit.lanes
        groups = b.udiv(b.add(self.registers, I64(width - 1)), I64(width))
        passed = emit.multiples(width)

        def total(term: Any) -> Any:
            read, write = emit.variable(emit.const(0.0))
            with emit.loop(groups) as g:
                begin = b.mul(g, I64(width))
                rest = b.sub(self.registers, begin)
                some = b.select(b.icmp_signed("<", rest, I64(width)), rest, I64(width))
                before = emit.splat(b.sitofp(b.sub(a.units, b.mul(begin, I64(width))), emit.scalar))
                units = emit.clamp(b.fsub(before, passed), 0.0, width)
                write(b.fadd(read(), term(begin, some, units)))
            return emit.splat(emit.sum_lanes(read()))

        number = emit.splat(b.sitofp(a.units, emit.scalar))
        mean = b.fdiv(
            total(lambda begin, some, units: b.fmul(units, emit.load_part(means, begin, some))),
            number,
        )

        def square(begin: Any, some: Any, units: Any) -> Any:
            distance = b.fsub(emit.load_part(means, begin, some), mean)
            within = emit.load_part(squares, begin, some)
            return b.fadd(within, b.fmul(b.fmul(units, distance), distance))

        variance = b.fdiv(total(square), number)
        deviation = emit.sqrt(b.fadd(variance, emit.const(EPSILON)))
        return mean, b.fdiv(emit.const(1.0), deviation)
