"""The micro-kernel: a few gathered rows times a few registers' width of packed weights.

    z[i, :] = init[i, :] + sum_k a[index[first + i] + k] * weights[k, :]      i < rows

It assumes, and packing makes true:
  - weights are stored in strips: a strip is k-major, `Tiles.strip` registers wide, contiguous;
  - the number of sums, rows times vectors, is at most SUMS, so that all live in registers;
  - rows of `a` are contiguous in k, wherever they start: `index` holds their element
    offsets, and nothing is copied to bring them together.

Every sum runs over k in ascending order in one register, whatever `rows` is: a row's
result does not depend on its neighbors, on blocking or on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numba import types
from numba.extending import intrinsic

from .functions import call_function
from .simd import I64, REGISTERS, Emitter, data_pointer

# As many sums as the registers hold besides a row of weights and an element of `a`.
SUMS = 24 if REGISTERS == 32 else 12


class Tiles(NamedTuple):
    """Which tiles a product is cut into; widths are counted in registers.

    Many rows are multiplied with few vectors at a time, so that each weight read from the cache
    serves many rows. Where panels are wider than that, few rows are multiplied with a whole panel,
    which keeps enough sums in flight.
    """

    strip: int  # width of a strip of weights
    row: int  # from one row of z to the next
    widths: tuple[int, ...]  # of tiles of many rows, the usual one last
    few_widths: tuple[int, ...] = ()  # of tiles of few rows, likewise
    sums: int = SUMS  # most that a tile has

    @property
    def rows(self) -> int:
        """Most rows of a tile."""
        return self.sums // self.widths[-1]

    @property
    def few(self) -> int:
        """Most rows that count as few."""
        return self.sums // self.few_widths[-1] * 2 // 3 if self.few_widths else 0

    @property
    def forms(self) -> list[tuple[int, int]]:
        """Rows and width of every tile there is."""
        few = [(rows, width) for rows in range(1, self.few + 1) for width in self.few_widths]
        many = range(self.few + 1, self.rows + 1)
        return few + [(rows, width) for rows in many for width in self.widths]


def _emit_tile(emit: Emitter, tiles: Tiles, rows: int, vectors: int, args: list[Any]) -> None:
    a, index, depth, weights, strip_step, init, init_stride, z = args
    b, width = emit.builder, emit.lanes
    strips = [
        emit.at(weights, b.mul(strip_step, I64(s))) for s in range(-(-vectors // tiles.strip))
    ]
    starts = [emit.at(a, b.load(b.gep(index, [I64(i)]))) for i in range(rows)]
    sums = [
        [
            emit.variable(emit.load(init, b.add(b.mul(init_stride, I64(i)), I64(v * width))))
            for v in range(vectors)
        ]
        for i in range(rows)
    ]
    with emit.loop(depth) as k:
        at = b.mul(k, I64(tiles.strip * width))
        heads = [emit.at(strip, at) for strip in strips]
        columns = [
            emit.load(heads[v // tiles.strip], v % tiles.strip * width) for v in range(vectors)
        ]
        for start, row in zip(starts, sums):
            x = emit.load_splat(start, k)
            for column, (read, write) in zip(columns, row):
                write(emit.fma(x, column, read()))
    for i, row in enumerate(sums):
        for v, (read, _) in enumerate(row):
            emit.store(read(), z, (i * tiles.row + v) * width)


def call_tile(
    builder: Any, name: str, tiles: Tiles, values: Sequence[Any], emit_form: Callable[..., None]
) -> None:
    """Call a micro-kernel, which is emitted once into the module: a switch over its forms.

    Args:
        builder: llvmlite IRBuilder at the call.
        name: distinguishes it from the module's others with the same tiles.
        tiles: the forms.
        values: rows, vectors, and what `emit_form` takes.
        emit_form: emits one form, from a builder, its rows and vectors, and the arguments.
    """

    def emit_body(inside: Any, arguments: Any) -> None:
        rows, vectors, *others = arguments
        function = inside.function
        done = function.append_basic_block("done")
        switch = inside.switch(inside.add(inside.mul(vectors, I64(SUMS + 1)), rows), done)
        for height, width in tiles.forms:
            block = function.append_basic_block(f"tile_{height}_{width}")
            switch.add_case(I64(width * (SUMS + 1) + height), block)
            inside.position_at_end(block)
            emit_form(inside, height, width, others)
            inside.branch(done)
        inside.position_at_end(done)

    # If inlined, every product would first compute what all forms need before their loops.
    shape = tiles.strip, tiles.row, tiles.sums, *tiles.widths, *tiles.few_widths
    call_function(builder, f"fastmask_{name}_{'_'.join(map(str, shape))}", values, emit_body)


def tile_kernel(tiles: Tiles) -> Any:
    """The micro-kernel for these tiles, for kernels to call."""

    @intrinsic
    def gemm_tile(
        typingctx: Any,
        rows: Any,
        vectors: Any,
        a: Any,
        a_start: Any,
        index: Any,
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
    ) -> Any:
        """Compute one tile; every array is followed by the place where it begins.

        `strip_step` elements lie between strips, and `init_stride` between rows of `init`; `left`
        is the first column.
        """
        i8 = types.int64
        signature = types.void(
            *(i8, i8, a, i8, index, i8, i8, packed, i8, i8, init, i8, i8, z, i8, i8)
        )

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointers = {
                i: builder.gep(data_pointer(context, builder, sig.args[i], args[i]), [args[i + 1]])
                for i in (2, 4, 7, 10, 13)
            }
            values = {**dict(enumerate(args)), **pointers}

            def emit_form(inside: Any, rows: int, vectors: int, arguments: list[Any]) -> None:
                _emit_tile(Emitter(inside, a.dtype), tiles, rows, vectors, arguments)

            given = [values[i] for i in (0, 1, 2, 4, 6, 7, 9, 10, 12, 13)]
            call_tile(builder, f"tile_{a.dtype}", tiles, given, emit_form)
            return context.get_dummy_value()

        return signature, codegen

    return gemm_tile
