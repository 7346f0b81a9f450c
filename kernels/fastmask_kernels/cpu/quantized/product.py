"""Products of converted rows with a panel of quantized weights."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ..gemm import Tiles, call_tile
from ..product import product
from ..simd import I64, REGISTERS, Emitter, data_pointer
from .formats import Format, words_type

# As many sums as the registers hold besides weights and words of two rows, which need registers.
MOST_SUMS = 22 if REGISTERS == 32 else 10
_i8 = types.int64


def _emit_tile(
    emit: Emitter, format: Format, tiles: Tiles, rows: int, vectors: int, args: list[Any]
) -> None:
    """z = init + row @ weights; with scales init + row scale * column scale * (start + sum)."""
    a, stride, depth, weights, strip_step, *columns, init, init_stride, z = args
    b, width = emit.builder, emit.lanes
    words = words_type(emit)
    strips = [
        emit.at(weights, b.mul(strip_step, I64(s))) for s in range(-(-vectors // tiles.strip))
    ]
    starts = [emit.at(a, b.mul(stride, I64(i))) for i in range(rows)]

    def known(i: int, v: int) -> Any:
        return emit.load(init, b.add(b.mul(init_stride, I64(i)), I64(v * width)))

    def begin(i: int, v: int) -> Any:
        if format.scaled:
            return b.bitcast(emit.load(columns[1], v * width), words)
        return known(i, v)

    sums = [[emit.variable(begin(i, v)) for v in range(vectors)] for i in range(rows)]
    with emit.loop(depth) as k:
        at = b.mul(k, I64(tiles.strip * width))
        heads = [emit.at(strip, at) for strip in strips]
        loaded = [
            b.bitcast(emit.load(heads[v // tiles.strip], v % tiles.strip * width), words)
            for v in range(vectors)
        ]
        for start, row in zip(starts, sums):
            x = b.bitcast(emit.load_splat(start, k), words)
            for column, (read, write) in zip(loaded, row):
                write(format.dot(emit, read(), x, column))
    if format.scaled:
        factors = [emit.load(columns[0], v * width) for v in range(vectors)]
    for i, (start, row) in enumerate(zip(starts, sums)):
        if format.scaled:
            scale = emit.load_splat(start, b.sub(stride, I64(1)))
        for v, (read, _) in enumerate(row):
            value = read()
            if format.scaled:
                value = b.fmul(b.sitofp(value, emit.vector), scale)
                value = emit.fma(value, factors[v], known(i, v))
            emit.store(value, z, (i * tiles.row + v) * width)


def _tile_kernel(format: Format, tiles: Tiles) -> Any:
    @intrinsic
    def tile(
        typingctx: Any,
        rows: Any,
        vectors: Any,
        a: Any,
        a_start: Any,
        stride: Any,
        first: Any,
        depth: Any,
        packed: Any,
        weights: Any,
        strip_step: Any,
        init: Any,
        init_start: Any,
        init_stride: Any,
        z: Any,
        z_start: Any,
        left: Any,
        factors: Any,
        starts: Any,
    ) -> Any:
        """One tile; `factors` and `starts` tell where those of the columns begin in `packed`."""
        signature = types.void(
            *(_i8, _i8, a, _i8, _i8, _i8, _i8, packed, _i8, _i8),
            *(init, _i8, _i8, z, _i8, _i8, _i8, _i8),
        )

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def at(array: int, *places: int) -> Any:
                pointer = data_pointer(context, builder, sig.args[array], args[array])
                for place in places:
                    pointer = builder.gep(pointer, [args[place]])
                return pointer

            def emit_form(inside: Any, height: int, width: int, arguments: list[Any]) -> None:
                emit = Emitter(inside, types.float32)
                _emit_tile(emit, format, tiles, height, width, arguments)

            row = builder.gep(at(2, 3), [builder.mul(args[5], args[4])])
            values = [
                *(args[0], args[1], row, args[4], args[6], at(7, 8), args[9]),
                *(at(7, 16, 15), at(7, 17, 15), at(10, 11), args[12], at(13, 14)),
            ]
            call_tile(builder, f"{format.name}_tile", tiles, values, emit_form)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def quantized_product(format: Format, tiles: Tiles) -> Any:
    """`multiply` for a format and one kind of tiles, see `product`.

    Row i of `a` begins at a_start + i * places, and its last word is its scale; `depth` counts
    words. `columns` tell where the columns' scales begin in `packed`, and the start values of
    their sums.
    """
    return product(tiles, _tile_kernel(format, tiles))
