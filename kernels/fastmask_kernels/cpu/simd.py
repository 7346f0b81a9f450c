"""Vector arithmetic for kernels: LLVM vector instructions, written as ordinary Python.

A kernel's inner loop is emitted by an `Emitter`, a small wrapper around llvmlite's
builder whose values are whole SIMD registers. The register's width follows the host
(AVX-512, AVX2, NEON, SSE) as Numba sees it, so one source runs everywhere and
`NUMBA_CPU_FEATURES` selects another width for tests.

exp is computed much as in W. J. Cody and W. Waite, "Software Manual for the Elementary
Functions" (1980), as a power of two: split the exponent into an integer and a small remainder,
sum a polynomial on the remainder, scale by the integer's power. For exp(x) - 1 the sum leaves out
its 1, which keeps tanh accurate near zero.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

from ..memory import CACHE_LINE

I32, I64 = ir.IntType(32), ir.IntType(64)


def _vector_bytes() -> int:
    """Widest SIMD register, in bytes, of the processor that Numba compiles for."""
    chosen = config.CPU_FEATURES
    if chosen is None:
        features = {name for name, on in get_host_cpu_features().items() if on}
    else:
        features = {f[1:] for f in chosen.split(",") if f.startswith("+")}
    if "avx512f" in features:
        return 64
    return 32 if "avx2" in features else 16


VECTOR_BYTES = _vector_bytes()
REGISTERS = 32 if VECTOR_BYTES == 64 or platform.machine() in ("aarch64", "arm64") else 16
_CHECKED = bool(config.BOUNDSCHECK)


def lanes(dtype: Any) -> int:
    """Number of elements of `dtype` in one SIMD register."""
    return VECTOR_BYTES // int(np.dtype(dtype).itemsize)


def data_pointer(context: Any, builder: Any, ty: Any, value: Any) -> Any:
    """Pointer to the first element of an array or pointer argument."""
    if isinstance(ty, types.CPointer):
        return value
    return context.make_array(ty)(context, builder, value).data


_LN2 = math.log(2)


class _Format:
    """Constants of one floating-point format."""

    def __init__(self, name: str, mantissa: int, bias: int, degree: int) -> None:
        self.name, self.mantissa = name, mantissa
        # The Taylor series of 2**r, right to the format's last bit.
        self.series = tuple(_LN2**k / math.factorial(k) for k in range(degree + 1))
        self.limit = bias - 1  # 2**n is a normal number for |n| up to this
        # Adding it rounds to an integer, and leaves that as a biased exponent in the low bits.
        self.magic = 1.5 * 2.0**mantissa + bias


_FORMATS = {
    types.float32: _Format("f32", 23, 127, 6),
    types.float64: _Format("f64", 52, 1023, 12),
}


class Emitter:
    """Emits vector instructions of one floating-point type at the builder's position.

    Args:
        builder: llvmlite IRBuilder of the function being written.
        dtype: `numba.types.float32` or `numba.types.float64`.
        series: the coefficients of 1, r, r**2 and so on in the series of 2**r, for |r| <= 1/2; the
            first is 1. None for a series that is right to the last bit.
    """

    def __init__(self, builder: Any, dtype: Any, series: Sequence[float] | None = None) -> None:
        self.builder, self.dtype = builder, dtype
        self.format = _FORMATS[dtype]
        self.series = self.format.series if series is None else series
        self.itemsize = dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.itemsize
        self.scalar = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.bits = ir.VectorType(ir.IntType(dtype.bitwidth), self.lanes)

    def at(self, base: Any, offset: Any) -> Any:
        """Pointer `offset` elements (an int, or an i64 value) behind `base`."""
        return self.builder.gep(base, [I64(offset) if isinstance(offset, int) else offset])

    def load(self, base: Any, offset: Any = 0) -> Any:
        """Vector at `base + offset`, aligned as an element."""
        value = self.builder.load(
            self.builder.bitcast(self.at(base, offset), self.vector.as_pointer())
        )
        value.align = self.itemsize
        return value

    def store(self, value: Any, base: Any, offset: Any = 0) -> None:
        """Write a vector to `base + offset`."""
        pointer = self.builder.bitcast(self.at(base, offset), self.vector.as_pointer())
        self.builder.store(value, pointer).align = self.itemsize

    def first_lanes(self, count: Any) -> Any:
        """Mask of the first `count` lanes, an i64 value."""
        number = self.builder.trunc(count, I32)
        places = ir.Constant(ir.VectorType(I32, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", places, self.splat(number))

    def load_masked(self, base: Any, mask: Any) -> Any:
        """Vector at `base`; lanes outside the mask are 0, and their memory is not read."""
        pointer = self.builder.bitcast(base, self.vector.as_pointer())
        arguments = [pointer, I32(self.itemsize), mask, self.const(0.0)]
        return self._call(self._masked("load"), self.vector, arguments)

    def store_masked(self, value: Any, base: Any, mask: Any) -> None:
        """Write the lanes of the mask to `base`."""
        pointer = self.builder.bitcast(base, self.vector.as_pointer())
        arguments = [value, pointer, I32(self.itemsize), mask]
        self._call(self._masked("store"), ir.VoidType(), arguments)

    def _masked(self, what: str) -> str:
        vector = f"v{self.lanes}{self.format.name}"
        return f"llvm.masked.{what}.{vector}.p0{vector}"

    def _call(self, name: str, result: Any, arguments: list[Any]) -> Any:
        signature = ir.FunctionType(result, [a.type for a in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, arguments)

    def load_part(self, base: Any, offset: Any, count: Any) -> Any:
        """`load` of the first `count` <= lanes elements, the others zero; reads no further.

        A whole vector takes a branch of its own: masked instructions are slow on some
        processors, and missing on others.
        """
        b = self.builder
        with b.if_else(b.icmp_signed("==", count, I64(self.lanes))) as (then, otherwise):
            with then:
                whole, end_of_then = self.load(base, offset), b.block
            with otherwise:
                part = self.load_masked(self.at(base, offset), self.first_lanes(count))
                end_of_otherwise = b.block
        value = b.phi(self.vector)
        value.add_incoming(whole, end_of_then)
        value.add_incoming(part, end_of_otherwise)
        return value

    def store_part(self, value: Any, base: Any, offset: Any, count: Any) -> None:
        """`store` of the first `count` <= lanes elements; writes no further."""
        b = self.builder
        with b.if_else(b.icmp_signed("==", count, I64(self.lanes))) as (then, otherwise):
            with then:
                self.store(value, base, offset)
            with otherwise:
                self.store_masked(value, self.at(base, offset), self.first_lanes(count))

    def splat(self, scalar: Any) -> Any:
        """Vector with `scalar` in every lane."""
        empty = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(empty, scalar, I32(0))
        return self.builder.shuffle_vector(
            first, empty, ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        )

    def load_splat(self, base: Any, offset: Any = 0) -> Any:
        """Vector with the element at `base + offset` in every lane."""
        return self.splat(self.builder.load(self.at(base, offset)))

    def sum_lanes(self, value: Any) -> Any:
        """Sum of a vector's elements, as a scalar: in halves, always in this order."""
        b, width = self.builder, self.lanes
        while width > 1:
            width //= 2
            upper = ir.Constant(
                ir.VectorType(I32, self.lanes),
                [(i + width) % self.lanes for i in range(self.lanes)],
            )
            value = b.fadd(value, b.shuffle_vector(value, value, upper))
        return b.extract_element(value, I32(0))

    def const(self, value: float) -> Any:
        """Vector of a constant."""
        return ir.Constant(self.vector, [ir.Constant(self.scalar, value)] * self.lanes)

    def multiples(self, step: float) -> Any:
        """Vector of 0, step, 2 step, and so on."""
        lanes = range(self.lanes)
        return ir.Constant(self.vector, [ir.Constant(self.scalar, n * step) for n in lanes])

    def sqrt(self, x: Any) -> Any:
        """The square root."""
        return self._call(f"llvm.sqrt.v{self.lanes}{self.format.name}", self.vector, [x])

    def _integers(self, value: int) -> Any:
        return ir.Constant(self.bits, [value] * self.lanes)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, fused where the processor can."""
        name = f"llvm.fmuladd.v{self.lanes}{self.format.name}"
        return self._call(name, self.vector, [a, b, c])

    def clamp(self, x: Any, low: float, high: float) -> Any:
        """x limited to [low, high]; NaN stays NaN."""
        for limit, beyond in ((self.const(high), "<"), (self.const(low), ">")):
            # `limit beyond x` is false for NaN, which therefore passes.
            x = self.builder.select(self.builder.fcmp_ordered(beyond, limit, x), limit, x)
        return x

    def _power(self, x: Any, factor: float, share: float) -> tuple[Any, Any]:
        """(scale, r) with exp(factor * x) = scale * 2**r, |r| <= 1/2 and `scale` a power of two.

        The power of two is limited to `share` of the format's exponents. Rounding its exponent is
        like rounding x, which hardly changes sigmoid and tanh: |x| times their slope is below 1/2
        everywhere.
        """
        b, f = self.builder, self.format
        exponent = b.fmul(x, self.const(factor / _LN2))
        exponent = self.clamp(exponent, -share * f.limit, share * f.limit)
        shifted = b.fadd(exponent, self.const(f.magic))
        r = b.fsub(exponent, b.fsub(shifted, self.const(f.magic)))
        bits = b.shl(b.bitcast(shifted, self.bits), self._integers(f.mantissa))
        return b.bitcast(bits, self.vector), r

    def _power_series(self, r: Any, first: int) -> Any:
        """The series of 2**r from the term r**first on, divided by r**first."""
        total = self.const(self.series[-1])
        for factor in reversed(self.series[first:-1]):
            total = self.fma(total, r, self.const(factor))
        return total

    def sigmoid_fraction(self, x: Any, share: float = 1.0) -> Any:
        """d with sigmoid(x) = 1 / d; d stays below the largest number to the power `share`."""
        scale, r = self._power(x, -1.0, share)
        return self.fma(scale, self._power_series(r, 0), self.const(1.0))

    def tanh_fraction(self, x: Any) -> tuple[Any, Any]:
        """(n, d) with tanh(x) = n / d; d stays below the square root of the largest number."""
        b = self.builder
        scale, r = self._power(x, -2.0, 0.49)
        # exp(-2x) - 1; near 0 scale is 1, and only the small remainder is left.
        remainder = b.fmul(r, self._power_series(r, 1))
        e = self.fma(scale, remainder, b.fsub(scale, self.const(1.0)))
        return b.fneg(e), b.fadd(e, self.const(2.0))

    def exp(self, x: Any) -> Any:
        """e to the power x: 0 or infinity outside the range of normal numbers."""
        b = self.builder
        scale, r = self._power(x, 1.0, 1.0)
        value = b.fmul(scale, self._power_series(r, 0))
        edge = self.format.limit * _LN2
        above = b.fcmp_ordered(">", x, self.const(edge))
        below = b.fcmp_ordered("<", x, self.const(-edge))
        value = b.select(above, self.const(math.inf), value)
        return b.select(below, self.const(0.0), value)

    @contextmanager
    def loop(self, count: Any) -> Iterator[Any]:
        """`for index in range(count)`; yields the i64 index."""
        with cgutils.for_range(self.builder, count, intp=I64) as state:
            yield state.index

    def variable(self, value: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        """(read, write) of a value that changes inside loops; LLVM keeps it in a register."""
        slot = cgutils.alloca_once_value(self.builder, value)
        return lambda: self.builder.load(slot), lambda new: self.builder.store(new, slot)


_i8 = types.int64


# Inner loops see one-dimensional views of C-contiguous arrays: bare pointers, because an array is
# passed as seven values, which costs seconds of compile time. Under NUMBA_BOUNDSCHECK=1 the views
# are arrays, so that every index is checked.
if _CHECKED:

    @njit(inline="always")
    def flat(array: Any) -> Any:
        """A view of all elements."""
        return array.reshape(-1)

    @njit(inline="always")
    def flat_from(array: Any, start: int) -> Any:
        """A view of array[start:], which has one dimension."""
        return array[start:]

else:

    @intrinsic
    def flat(typingctx: Any, array: Any) -> Any:
        """A view of all elements."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return data_pointer(context, builder, sig.args[0], args[0])

        return types.CPointer(array.dtype)(array), codegen

    @intrinsic
    def flat_from(typingctx: Any, array: Any, start: Any) -> Any:
        """A view of array[start:], which has one dimension."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.gep(data_pointer(context, builder, sig.args[0], args[0]), [args[1]])

        return types.CPointer(array.dtype)(array, _i8), codegen


@intrinsic
def flat_each(typingctx: Any, arrays: Any) -> Any:
    """Views of all elements of each of several arrays."""
    views = types.UniTuple(types.CPointer(arrays.dtype.dtype), len(arrays))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = [
            data_pointer(context, builder, arrays.dtype, array)
            for array in cgutils.unpack_tuple(builder, args[0])
        ]
        return context.make_tuple(builder, views, pointers)

    return views(arrays), codegen


@intrinsic
def aligned_start(typingctx: Any, array: Any) -> Any:
    """Index of the array's first element that begins a cache line."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = data_pointer(context, builder, sig.args[0], args[0])
        behind = builder.and_(builder.neg(builder.ptrtoint(pointer, I64)), I64(CACHE_LINE - 1))
        return builder.udiv(behind, I64(array.dtype.bitwidth // 8))

    return _i8(array), codegen


@intrinsic
def lanes_of(typingctx: Any, view: Any) -> Any:
    """Elements of the view's dtype in one SIMD register; a constant."""
    count = VECTOR_BYTES * 8 // view.dtype.bitwidth
    return _i8(view), lambda context, builder, sig, args: I64(count)


@intrinsic
def copy_row(
    typingctx: Any, target: Any, target_start: Any, source: Any, source_start: Any, count: Any
) -> Any:
    """target[target_start + i] = source[source_start + i], i < count <= lanes, flat."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit = Emitter(builder, target.dtype)
        to = emit.at(data_pointer(context, builder, sig.args[0], args[0]), args[1])
        start = emit.at(data_pointer(context, builder, sig.args[2], args[2]), args[3])
        whole = builder.icmp_signed("==", args[4], I64(emit.lanes))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                emit.store(emit.load(start), to)
            with otherwise:
                mask = emit.first_lanes(args[4])
                emit.store_masked(emit.load_masked(start, mask), to, mask)
        return context.get_dummy_value()

    return types.void(target, _i8, source, _i8, _i8), codegen


@intrinsic
def fill_row(typingctx: Any, target: Any, target_start: Any, count: Any) -> Any:
    """target[target_start + i] = 0, i < count <= lanes, flat."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit = Emitter(builder, target.dtype)
        to = emit.at(data_pointer(context, builder, sig.args[0], args[0]), args[1])
        whole = builder.icmp_signed("==", args[2], I64(emit.lanes))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                emit.store(emit.const(0.0), to)
            with otherwise:
                emit.store_masked(emit.const(0.0), to, emit.first_lanes(args[2]))
        return context.get_dummy_value()

    return types.void(target, _i8, _i8), codegen


def _prefetch(write: bool) -> Any:
    """A function of (array, start, count) that prefetches part of an array."""

    @intrinsic
    def prefetch(typingctx: Any, array: Any, start: Any, count: Any) -> Any:
        """Prefetch array[start : start + count]; any address is allowed."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            emit = Emitter(builder, array.dtype)
            row = emit.at(data_pointer(context, builder, sig.args[0], args[0]), args[1])
            byte_pointer = ir.IntType(8).as_pointer()
            signature = ir.FunctionType(ir.VoidType(), [byte_pointer, I32, I32, I32])
            name = "llvm.prefetch.p0i8"
            function = cgutils.get_or_insert_function(builder.module, signature, name)
            line = CACHE_LINE // emit.itemsize
            lines = builder.udiv(builder.add(args[2], I64(line - 1)), I64(line))
            with emit.loop(lines) as i:
                address = builder.bitcast(emit.at(row, builder.mul(i, I64(line))), byte_pointer)
                builder.call(function, [address, I32(int(write)), I32(3), I32(1)])  # keep, data
            return context.get_dummy_value()

        return types.void(array, _i8, _i8), codegen

    return prefetch


prefetch_row = _prefetch(write=False)
prefetch_row_to_write = _prefetch(write=True)
