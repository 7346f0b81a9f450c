"""Rows converted to a format of fewer bits, before they are multiplied."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..simd import I32, I64, Emitter, data_pointer
from .formats import I8, I16, OFFSET, Format, words_type

_i8 = types.int64
LIMIT = 127  # of an int8


def stride_of(format: Format, depth: int, lanes: int) -> int:
    """Words from one converted row to the next: whole vectors are written, then the scale."""
    return -(-depth // lanes) * (lanes // format.group) + 1


def row_converter(format: Format) -> Any:
    """`convert_rows` for a format, for compiled kernels to call."""

    @intrinsic
    def convert_rows(
        typingctx: Any,
        rows: Any,
        depth: Any,
        a: Any,
        a_start: Any,
        index: Any,
        target: Any,
        target_start: Any,
        stride: Any,
        least: Any,
    ) -> Any:
        """Convert rows of `a`, which begin at a_start + index[i], to `stride` words each.

        With scales a row becomes round(row / scale) + 128. Its last word is the scale: the largest
        magnitude of the row, or `least` if that is larger, divided by 127; NaN if the row has
        numbers that are not finite. The padding of the last vector stands for 0.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            emit = Emitter(builder, a.dtype)
            first = emit.at(data_pointer(context, builder, sig.args[2], args[2]), args[3])
            places = data_pointer(context, builder, sig.args[4], args[4])
            out = emit.at(data_pointer(context, builder, sig.args[5], args[5]), args[6])
            last = builder.sub(args[7], I64(1))
            with emit.loop(args[0]) as i:
                row = emit.at(first, builder.load(builder.gep(places, [i])))
                to = emit.at(out, builder.mul(i, args[7]))
                if format.scaled:
                    _scaled_row(emit, row, args[1], to, emit.at(to, last), args[8])
                else:
                    _rounded_row(emit, row, args[1], to)
            return context.get_dummy_value()

        numbers = (_i8, _i8, a, _i8, index, target, _i8, _i8, a.dtype)
        return types.void(*numbers), codegen

    return convert_rows


def _vectors(emit: Emitter, depth: Any) -> Any:
    b = emit.builder
    return b.sdiv(b.add(depth, I64(emit.lanes - 1)), I64(emit.lanes))


def _load(emit: Emitter, row: Any, depth: Any, number: Any) -> Any:
    """A vector of the row, with zeros after its end."""
    b = emit.builder
    at, width = b.mul(number, I64(emit.lanes)), I64(emit.lanes)
    left = b.sub(depth, at)
    return emit.load_part(row, at, b.select(b.icmp_signed("<", left, width), left, width))


def _store(emit: Emitter, values: Any, to: Any, number: Any, element: Any) -> None:
    b = emit.builder
    vector = ir.VectorType(element, emit.lanes)
    place = b.gep(b.bitcast(to, element.as_pointer()), [b.mul(number, I64(emit.lanes))])
    b.store(b.trunc(values, vector), b.bitcast(place, vector.as_pointer())).align = 1


def _rounded_row(emit: Emitter, row: Any, depth: Any, to: Any) -> None:
    """bfloat16: the upper half of a float32, rounded to nearest even; NaN stays NaN."""
    b, words = emit.builder, words_type(emit)

    def all_of(value: int) -> Any:
        return ir.Constant(words, [value] * emit.lanes)

    with emit.loop(_vectors(emit, depth)) as v:
        x = _load(emit, row, depth, v)
        bits = b.bitcast(x, words)
        odd = b.and_(b.lshr(bits, all_of(16)), all_of(1))
        rounded = b.add(bits, b.add(odd, all_of(0x7FFF)))
        quiet = b.or_(bits, all_of(0x400000))
        chosen = b.select(b.fcmp_unordered("uno", x, x), quiet, rounded)
        _store(emit, b.lshr(chosen, all_of(16)), to, v, I16)


def _scaled_row(emit: Emitter, row: Any, depth: Any, to: Any, scale: Any, least: Any) -> None:
    """int8: first as if nothing were larger than `least`, and again if something is."""
    b = emit.builder
    zero, limit = ir.Constant(emit.scalar, 0.0), ir.Constant(emit.scalar, float(LIMIT))
    fits = cgutils.alloca_once_value(b, ir.Constant(ir.IntType(1), 0))
    with b.if_then(b.fcmp_ordered(">", least, zero), likely=True):
        b.store(b.fdiv(least, limit), scale)
        larger = _write_scaled(emit, row, depth, to, b.fdiv(limit, least))
        b.store(b.icmp_unsigned("==", larger, larger.type(0)), fits)
    with b.if_then(b.not_(b.load(fits)), likely=False):
        largest = _largest(emit, row, depth, least)
        finite = b.fcmp_ordered("<", largest, ir.Constant(emit.scalar, math.inf))
        some = b.fcmp_ordered(">", largest, zero)
        factor = b.select(b.and_(finite, some), b.fdiv(limit, largest), zero)
        known = b.fdiv(largest, limit)
        b.store(b.select(finite, known, ir.Constant(emit.scalar, math.nan)), scale)
        _write_scaled(emit, row, depth, to, factor)


def _write_scaled(emit: Emitter, row: Any, depth: Any, to: Any, factor: Any) -> Any:
    """Write round(row * factor) + 128; returns bits, which are 0 if everything fits into bytes.

    Adding a small number to one this large rounds it, and leaves it in the low bits of the sum.
    The bits of sums are in the same order as the sums, with those of NaN above all.
    """
    b, words = emit.builder, words_type(emit)
    large = 1.5 * 2.0**23 + OFFSET
    factors, magic = emit.splat(factor), emit.const(large)
    least = int(np.float32(large - LIMIT).view(np.int32))
    read, write = emit.variable(ir.Constant(words, [0] * emit.lanes))
    with emit.loop(_vectors(emit, depth)) as v:
        # Not fused: every processor has to round the same product.
        whole = b.bitcast(b.fadd(b.fmul(_load(emit, row, depth, v), factors), magic), words)
        above, most = b.sub(whole, ir.Constant(words, [least] * emit.lanes)), read()
        write(b.select(b.icmp_unsigned(">", above, most), above, most))
        _store(emit, whole, to, v, I8)
    beyond = b.icmp_unsigned(">", read(), ir.Constant(words, [2 * LIMIT] * emit.lanes))
    return b.bitcast(beyond, ir.IntType(emit.lanes))


def _magnitude(emit: Emitter, x: Any) -> Any:
    return emit._call(f"llvm.fabs.v{emit.lanes}{emit.format.name}", emit.vector, [x])


def _largest(emit: Emitter, row: Any, depth: Any, least: Any) -> Any:
    """The largest magnitude of a row, or `least`; NaN where there is one.

    Magnitudes are compared as integers, whose order is the same, with NaN above infinity.
    """
    b, words = emit.builder, words_type(emit)

    def larger(one: Any, other: Any) -> Any:
        return b.select(b.icmp_signed(">", one, other), one, other)

    read, write = emit.variable(b.bitcast(emit.splat(least), words))
    with emit.loop(_vectors(emit, depth)) as v:
        x = _magnitude(emit, _load(emit, row, depth, v))
        write(larger(b.bitcast(x, words), read()))
    total, width = read(), emit.lanes
    while width > 1:
        width //= 2
        places = [(i + width) % emit.lanes for i in range(emit.lanes)]
        mask = ir.Constant(words, places)
        total = larger(total, b.shuffle_vector(total, total, mask))
    return b.bitcast(b.extract_element(total, I32(0)), emit.scalar)
