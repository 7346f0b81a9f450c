"""Formats of fewer bits, and the instructions that multiply them.

Words of 32 bits hold as many successive numbers of a row as fit: two bfloat16, or four int8. A dot
product adds, in each lane, the products of a word of weights with a word of a row, which is the
same in all lanes:

    bfloat16  vdpbf16ps of AVX512_BF16, bfdot of NEON; elsewhere two multiply-adds in float32
    int8      vpdpbusd of AVX512_VNNI and AVX_VNNI, sdot of NEON; elsewhere products of 16 bits

Sums of int8 are integers, so every processor gets the same ones. The rows' bytes are stored with
128 added, because vpdpbusd takes unsigned bytes; to make up for it, sums start with -128 times the
column's weights.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils, config

from ..simd import I32, Emitter

I8, I16 = ir.IntType(8), ir.IntType(16)
OFFSET = 128  # added to the bytes of rows


class _BFloat(ir.types.Type):  # type: ignore[misc]  # llvmlite has no types
    """LLVM's bfloat, which llvmlite does not have; its name is all that is needed."""

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def host_features() -> set[str]:
    """The features of the processor that Numba compiles for, by LLVM's names."""
    chosen = config.CPU_FEATURES
    if chosen is None:
        return {name for name, on in get_host_cpu_features().items() if on}
    return {feature[1:] for feature in chosen.split(",") if feature.startswith("+")}


class Format(NamedTuple):
    """A format that rows and weights are converted to.

    Attributes:
        name: as users write it.
        group: numbers in a word.
        scaled: whether rows and columns have scales.
        dot: emits sums + products, from an emitter, sums, a row's word in all lanes, weights.
        series: for the sigmoids and tanhs of such layers, see `Emitter`.
    """

    name: str
    group: int
    scaled: bool
    dot: Callable[[Emitter, Any, Any, Any], Any]
    series: tuple[float, ...] | None = None

    def words(self, depth: int) -> int:
        """Words of `depth` numbers."""
        return -(-depth // self.group)

    def sums_type(self, emit: Emitter) -> Any:
        """The type of a vector of sums."""
        return words_type(emit) if self.scaled else emit.vector


def words_type(emit: Emitter) -> Any:
    """A vector of words, one a lane."""
    return ir.VectorType(I32, emit.lanes)


def _all(emit: Emitter, value: int) -> Any:
    return ir.Constant(words_type(emit), [value] * emit.lanes)


def _call(emit: Emitter, name: str, result: Any, arguments: list[Any]) -> Any:
    signature = ir.FunctionType(result, [a.type for a in arguments])
    function = cgutils.get_or_insert_function(emit.builder.module, signature, name)
    return emit.builder.call(function, arguments)


def _bfloat16_dot(emit: Emitter, sums: Any, row: Any, weights: Any) -> Any:
    b, features = emit.builder, host_features()
    name = None
    if "avx512bf16" in features and (emit.lanes == 16 or "avx512vl" in features):
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * emit.lanes}"
    elif "bf16" in features and emit.lanes == 4:
        name = "llvm.aarch64.neon.bfdot.v4f32.v8bf16"
    if name is not None:
        pairs = ir.VectorType(_BFloat(), 2 * emit.lanes)
        return _call(
            emit, name, emit.vector, [sums, b.bitcast(row, pairs), b.bitcast(weights, pairs)]
        )

    def first(word: Any) -> Any:
        return b.bitcast(b.shl(word, _all(emit, 16)), emit.vector)

    def second(word: Any) -> Any:
        return b.bitcast(b.and_(word, _all(emit, -65536)), emit.vector)

    return emit.fma(second(row), second(weights), emit.fma(first(row), first(weights), sums))


def _int8_dot(emit: Emitter, sums: Any, row: Any, weights: Any) -> Any:
    features, width = host_features(), 32 * emit.lanes
    vnni = "avx512vnni" in features and (emit.lanes == 16 or "avx512vl" in features)
    if vnni or ("avxvnni" in features and emit.lanes <= 8):
        name = f"llvm.x86.avx512.vpdpbusd.{width}"
        return _call(emit, name, words_type(emit), [sums, row, weights])
    if "dotprod" in features and emit.lanes == 4:
        return _sdot(emit, sums, row, weights)
    return _products_of_16_bits(emit, sums, row, weights)


def _sdot(emit: Emitter, sums: Any, row: Any, weights: Any) -> Any:
    """NEON's, for signed bytes: take the offset off the row, and add it to the sums instead."""
    b, bytes_type = emit.builder, ir.VectorType(I8, 4 * emit.lanes)
    signed = b.xor(row, _all(emit, -2139062144))  # 0x80 in each byte
    name, ones = "llvm.aarch64.neon.sdot.v4i32.v16i8", ir.Constant(bytes_type, [1] * 16)
    w = b.bitcast(weights, bytes_type)
    sums = _call(emit, name, words_type(emit), [sums, b.bitcast(signed, bytes_type), w])
    of_weights = _call(emit, name, words_type(emit), [_all(emit, 0), ones, w])
    return b.add(sums, b.mul(of_weights, _all(emit, OFFSET)))


def _products_of_16_bits(emit: Emitter, sums: Any, row: Any, weights: Any) -> Any:
    """Widen bytes 0 and 2 of each word to 16 bits, multiply and add them; then bytes 1 and 3."""
    b = emit.builder
    halves = ir.VectorType(I16, 2 * emit.lanes)
    eight = ir.Constant(halves, [8] * (2 * emit.lanes))
    low = ir.Constant(halves, [255] * (2 * emit.lanes))
    r, w = b.bitcast(row, halves), b.bitcast(weights, halves)
    even = _pairs(emit, b.and_(r, low), b.ashr(b.shl(w, eight), eight))
    odd = _pairs(emit, b.lshr(r, eight), b.ashr(w, eight))
    return b.add(sums, b.add(even, odd))


def _pairs(emit: Emitter, x: Any, y: Any) -> Any:
    """Sums of the products of pairs of 16 bits."""
    b, words = emit.builder, words_type(emit)
    names = {4: "sse2.pmadd.wd", 8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}
    if platform.machine().lower() in ("x86_64", "amd64") and (
        emit.lanes < 16 or "avx512bw" in host_features()
    ):
        return _call(emit, f"llvm.x86.{names[emit.lanes]}", words, [x, y])
    x, y = b.bitcast(x, words), b.bitcast(y, words)
    sixteen = _all(emit, 16)

    def first(word: Any) -> Any:
        return b.ashr(b.shl(word, sixteen), sixteen)

    second = b.mul(b.ashr(x, sixteen), b.ashr(y, sixteen))
    return b.add(b.mul(first(x), first(y)), second)


BFLOAT16 = Format("bfloat16", group=2, scaled=False, dot=_bfloat16_dot)
# Right within 1e-4: this puts sigmoids off by 3e-5 and tanhs by 5e-5, while int8 is off by 1e-2.
_SERIES = 1.0, 0.69328293, 0.24221100, 0.05500895  # the smallest error of three terms and 1
INT8 = Format("int8", group=4, scaled=True, dot=_int8_dot, series=_SERIES)
FORMATS = {one.name: one for one in (BFLOAT16, INT8)}
