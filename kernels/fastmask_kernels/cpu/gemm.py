"""The micro-kernel: a few gathered rows times one or two packed strips of weights.

    z[i, :] = init[i, :] + sum_k a[index[first + i] + k] * strip[k, :]      i < rows

It assumes, and packing makes true:
  - a strip is k-major, STRIP_VECTORS registers wide, contiguous; the panel's second strip
    follows the first;
  - 1 <= rows <= TILE_ROWS, so that all sums live in registers at once;
  - rows of `a` are contiguous in k, wherever they start: `index` holds their element
    offsets, and nothing is copied to bring them together.

Up to WIDE_ROWS rows meet both strips at once, which keeps enough sums in flight; more rows
meet one strip at a time, so that each weight read from the cache serves up to twelve rows.

Every sum runs over k in ascending order in one register, whatever `rows` is: a row's
result does not depend on its neighbours, on blocking or on the number of threads.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import I64, REGISTERS, Emitter, data_pointer

PANEL_VECTORS = 4  # gates of a unit
STRIP_VECTORS = 2
# As many sums as the registers hold, beside a row of a strip and an element of `a`.
_SUMS = 24 if REGISTERS == 32 else 12
TILE_ROWS = _SUMS // STRIP_VECTORS
WIDE_ROWS = TILE_ROWS // 3  # tiles of one strip are never lower: rows are dealt evenly


def _emit_tile(emit: Emitter, rows: int, args: list[Any]) -> None:
    a, index, depth, first_strip, init, init_stride, z = args
    b, width = emit.builder, emit.lanes
    vectors = PANEL_VECTORS if rows <= WIDE_ROWS else STRIP_VECTORS
    strip_size = b.mul(depth, I64(STRIP_VECTORS * width))
    strips = [first_strip, emit.at(first_strip, strip_size)][: vectors // STRIP_VECTORS]
    starts = [emit.at(a, b.load(b.gep(index, [I64(i)]))) for i in range(rows)]
    sums = [
        [
            emit.variable(emit.load(init, b.add(b.mul(init_stride, I64(i)), I64(v * width))))
            for v in range(vectors)
        ]
        for i in range(rows)
    ]
    with emit.loop(depth) as k:
        at = b.mul(k, I64(STRIP_VECTORS * width))
        heads = [emit.at(strip, at) for strip in strips]
        columns = [emit.load(head, v * width) for head in heads for v in range(STRIP_VECTORS)]
        for start, row in zip(starts, sums):
            x = emit.load_splat(start, k)
            for column, (read, write) in zip(columns, row):
                write(emit.fma(x, column, read()))
    for i, row in enumerate(sums):
        for v, (read, _) in enumerate(row):
            emit.store(read(), z, (i * PANEL_VECTORS + v) * width)


def _tile_function(module: Any, dtype: Any) -> Any:
    """The micro-kernel of `dtype`, emitted once into the module: a switch over `rows`."""
    name = f"fastmask_gemm_tile_{dtype.name}"
    if name in module.globals:
        return module.globals[name]
    element = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    pointer = element.as_pointer()
    signature = ir.FunctionType(
        ir.VoidType(), [I64, pointer, I64.as_pointer(), I64, pointer, pointer, I64, pointer]
    )
    function = ir.Function(module, signature, name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    rows, *args = function.args
    done = function.append_basic_block("done")
    switch = builder.switch(rows, done)
    for count in range(1, TILE_ROWS + 1):
        block = function.append_basic_block(f"rows_{count}")
        switch.add_case(I64(count), block)
        builder.position_at_end(block)
        _emit_tile(Emitter(builder, dtype), count, args)
        builder.branch(done)
    builder.position_at_end(done)
    builder.ret_void()
    return function


@intrinsic
def gemm_tile(
    typingctx: Any,
    rows: Any,
    a: Any,
    a_start: Any,
    index: Any,
    first: Any,
    depth: Any,
    packed: Any,
    strip: Any,
    init: Any,
    init_start: Any,
    init_stride: Any,
    z: Any,
    z_start: Any,
) -> Any:
    """Call the micro-kernel; every array is followed by the place where it begins."""
    i8 = types.int64
    signature = types.void(i8, a, i8, index, i8, i8, packed, i8, init, i8, i8, z, i8)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = {
            i: builder.gep(data_pointer(context, builder, sig.args[i], args[i]), [args[i + 1]])
            for i in (1, 3, 6, 8, 11)
        }
        values = {**dict(enumerate(args)), **pointers}
        function = _tile_function(builder.module, a.dtype)
        builder.call(function, [values[i] for i in (0, 1, 3, 5, 6, 8, 10, 11)])
        return context.get_dummy_value()

    return signature, codegen
