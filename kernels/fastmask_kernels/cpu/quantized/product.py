"""Products of converted rows with a panel of weights of fewer bits."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..gemm import SUMS, Tiles
from ..jit import inner
from ..simd import I64, REGISTERS, Emitter, data_pointer, lanes_of
from .formats import Format, words_type

# As many sums as the registers hold, beside weights and words of two rows, which are no operands.
MOST_SUMS = 22 if REGISTERS == 32 else 10
_i8 = types.int64


def _emit_tile(
    emit: Emitter, format: Format, tiles: Tiles, rows: int, vectors: int, args: list[Any]
) -> None:
    """z = init + row by weights; with scales init + row scale * column scale * (start + sum)."""
    a, stride, depth, weights, strip_step, columns, init, init_stride, z = args
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


def _tile_function(module: Any, format: Format, tiles: Tiles) -> Any:
    """The micro-kernel, emitted once into the module: a switch over its forms."""
    shape = "_".join(
        map(str, (tiles.strip, tiles.row, tiles.sums, *tiles.widths, *tiles.few_widths))
    )
    name = f"fastmask_{format.name}_tile_{shape}"
    if name in module.globals:
        return module.globals[name]
    pointer = ir.FloatType().as_pointer()
    arguments = [I64, I64, pointer, I64, I64, pointer, I64, *(pointer,) * 3, I64, pointer]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")  # as in `gemm`
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    rows, vectors, a, stride, depth, weights, step, factors, starts, *others = function.args
    done = function.append_basic_block("done")
    switch = builder.switch(builder.add(builder.mul(vectors, I64(SUMS + 1)), rows), done)
    for height, width in tiles.forms:
        block = function.append_basic_block(f"tile_{height}_{width}")
        switch.add_case(I64(width * (SUMS + 1) + height), block)
        builder.position_at_end(block)
        args = [a, stride, depth, weights, step, (factors, starts), *others]
        _emit_tile(Emitter(builder, types.float32), format, tiles, height, width, args)
        builder.branch(done)
    builder.position_at_end(done)
    builder.ret_void()
    return function


def _tile_kernel(format: Format, tiles: Tiles) -> Any:
    @intrinsic
    def tile(
        typingctx: Any,
        rows: Any,
        vectors: Any,
        a: Any,
        a_start: Any,
        stride: Any,
        depth: Any,
        packed: Any,
        weights: Any,
        strip_step: Any,
        factors: Any,
        starts: Any,
        init: Any,
        init_start: Any,
        init_stride: Any,
        z: Any,
        z_start: Any,
    ) -> Any:
        """One tile; `factors` and `starts` are places in `packed`."""
        signature = types.void(
            *(_i8, _i8, a, _i8, _i8, _i8, packed, _i8, _i8, _i8, _i8),
            *(init, _i8, _i8, z, _i8),
        )

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def at(array: int, place: int) -> Any:
                pointer = data_pointer(context, builder, sig.args[array], args[array])
                return builder.gep(pointer, [args[place]])

            function = _tile_function(builder.module, format, tiles)
            builder.call(
                function,
                [
                    *(args[0], args[1], at(2, 3), args[4], args[5], at(6, 7), args[8]),
                    *(at(6, 9), at(6, 10), at(11, 12), args[13], at(14, 15)),
                ],
            )
            return context.get_dummy_value()

        return signature, codegen

    return tile


def quantized_product(format: Format, tiles: Tiles) -> Any:
    """`multiply` for a format and one kind of tiles, for compiled kernels to call."""
    tile = _tile_kernel(format, tiles)
    most_rows, few, strip_vectors, row_vectors = tiles.rows, tiles.few, tiles.strip, tiles.row
    narrow, wide = tiles.widths[-1], (tiles.few_widths or tiles.widths)[-1]

    @inner
    def multiply(
        vectors: int,
        rows: int,
        a: Any,
        a_start: int,
        stride: int,
        depth: int,
        packed: Any,
        weights: int,
        strip_step: int,
        factors: int,
        starts: int,
        init: Any,
        init_start: int,
        init_stride: int,
        z: Any,
        z_start: int,
    ) -> None:
        """z[:, :vectors] = init + rows @ weights, as `product` has it; `depth` counts words.

        Row i of `a` begins at a_start + i * stride, and its scale is the last word of it. Column
        scales begin at packed[factors], what their sums start with at packed[starts].
        """
        lanes = lanes_of(z)
        width = wide if rows <= few else narrow
        for left in range(0, vectors, width):
            done = 0
            for tiles_left in range(-(-rows // most_rows), 0, -1):
                height = rows - done
                if tiles_left > 1:
                    height = -(-height // tiles_left)
                tile(
                    height,
                    min(width, vectors - left),
                    a,
                    a_start + done * stride,
                    stride,
                    depth,
                    packed,
                    weights + left // strip_vectors * strip_step,
                    strip_step,
                    factors + left * lanes,
                    starts + left * lanes,
                    init,
                    init_start + done * init_stride + left * lanes,
                    init_stride,
                    z,
                    z_start + (done * row_vectors + left) * lanes,
                )
                done += height

    return multiply
