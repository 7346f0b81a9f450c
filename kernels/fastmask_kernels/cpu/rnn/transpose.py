"""Packing: rows from anywhere, copied into the order in which the micro-kernel reads them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..functions import call_function
from ..jit import inner
from ..simd import I32, I64, Emitter, copy_row, data_pointer, fill_row, flat_from, lanes_of

STRIP = 2  # registers of a strip of packed weights
_i8 = types.int64


@intrinsic
def address_of(typingctx: Any, view: Any, index: Any) -> Any:
    """The address of an element."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = data_pointer(context, builder, sig.args[0], args[0])
        return builder.ptrtoint(builder.gep(pointer, [args[1]]), I64)

    return _i8(view, _i8), codegen


@intrinsic
def pointer_at(typingctx: Any, view: Any, address: Any) -> Any:
    """A view of the memory at an address, of the dtype of another view."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = types.CPointer(view.dtype)
        return builder.inttoptr(args[1], context.get_value_type(pointer))

    return types.CPointer(view.dtype)(view, _i8), codegen


def pointers_at(count: int) -> Any:
    """`pointers` to `count` arrays, for compiled kernels to call."""

    @intrinsic
    def pointers(typingctx: Any, view: Any, words: Any, start: Any) -> Any:
        """Views of the memory at the addresses from words[start] on, see `pointer_at`."""
        view_type = types.CPointer(view.dtype)
        found = types.UniTuple(view_type, count)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            own = builder.gep(data_pointer(context, builder, sig.args[1], args[1]), [args[2]])
            kind = context.get_value_type(view_type)
            each = [
                builder.inttoptr(builder.load(builder.gep(own, [I64(n)])), kind)
                for n in range(count)
            ]
            return context.make_tuple(builder, found, each)

        return found(view, words, _i8), codegen

    return pointers


@intrinsic
def _transpose_square(
    typingctx: Any,
    addresses: Any,
    first: Any,
    count: Any,
    columns: Any,
    target: Any,
    start: Any,
    stride: Any,
) -> Any:
    """target[start + k * stride + p] = number first + k at addresses[p], for all lanes k and p.

    Only `columns` numbers of `count` rows are read; others are zeros, and copies of the last row.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        own = data_pointer(context, builder, sig.args[0], args[0])
        to = builder.gep(data_pointer(context, builder, sig.args[4], args[4]), [args[5]])

        def emit_body(inside: Any, arguments: Any) -> None:
            _emit_square(Emitter(inside, target.dtype), *arguments)

        name, values = f"fastmask_transpose_{target.dtype}", [own, *args[1:4], to, args[6]]
        call_function(builder, name, values, emit_body)
        return context.get_dummy_value()

    return types.void(addresses, _i8, _i8, _i8, target, _i8, _i8), codegen


def _emit_square(
    emit: Emitter, addresses: Any, first: Any, count: Any, columns: Any, target: Any, stride: Any
) -> None:
    b, last, rows = emit.builder, emit.builder.sub(count, I64(1)), []
    for p in range(emit.lanes):
        own = b.select(b.icmp_signed("<", I64(p), count), I64(p), last)
        row = b.inttoptr(b.load(b.gep(addresses, [own])), emit.scalar.as_pointer())
        rows.append(emit.load_part(row, first, columns))
    for k, column in enumerate(_transposed(emit, rows)):
        emit.store(column, emit.at(target, b.mul(stride, I64(k))))


def _transposed(emit: Emitter, rows: list[Any]) -> list[Any]:
    """A transposed square of numbers: blocks of 1, 2, 4, ... of them swap places in turn."""
    lanes, half = range(emit.lanes), 1
    while half < emit.lanes:
        upper = [j if not j & half else emit.lanes + j - half for j in lanes]
        lower = [j + half if not j & half else emit.lanes + j for j in lanes]
        for i in lanes:
            if not i & half:
                a, other = rows[i], rows[i + half]
                for place, order in ((i, upper), (i + half, lower)):
                    places = ir.Constant(ir.VectorType(I32, emit.lanes), order)
                    rows[place] = emit.builder.shuffle_vector(a, other, places)
        half *= 2
    return rows


@inner
def transpose_rows(
    addresses: Any, count: int, first: int, columns: int, target: Any, start: int, stride: int
) -> None:
    """target[start + k * stride + p] = number first + k at addresses[p], p < count, k < columns.

    Up to a register more is written after the last p of each k, and as many rows after the last k.
    """
    lanes = lanes_of(target)
    for p in range(0, count, lanes):
        for k in range(0, columns, lanes):
            _transpose_square(
                *(
                    flat_from(addresses, p),
                    first + k,
                    min(lanes, count - p),
                    min(lanes, columns - k),
                ),
                *(target, start + k * stride + p, stride),
            )


@inner
def pack_strip(source: Any, start: int, stride: int, count: int, columns: int, strip: Any) -> None:
    """Copy `columns` columns of `count` rows side by side, in rows of STRIP registers."""
    lanes = lanes_of(strip)
    for p in range(count):
        for v in range(STRIP):
            own = min(lanes, columns - v * lanes)
            target = (p * STRIP + v) * lanes
            if own < lanes:
                fill_row(strip, target, lanes)
            if own > 0:
                copy_row(strip, target, source, start + p * stride + v * lanes, own)


@inner
def pack_blocks(
    weights: Any,
    matrix: Any,
    rows: int,
    units: int,
    blocks: Any,
    count: int,
    packed: Any,
    start: int,
    strips: int,
) -> int:
    """Pack blocks of H columns, transposed: packed[strip][block][column] has a strip of rows.

    Returns the place after them.

    Args:
        weights: the matrix, from its first element on.
        matrix: its three words, see `words`, for the strides.
        rows: how many rows it has.
        units: H.
        blocks: the numbers of the blocks.
        count: how many blocks there are.
        packed: where they are written.
        start: the place of the first element in `packed`.
        strips: how many strips; they have zeros after the last row.
    """
    width, place = STRIP * lanes_of(packed), start
    row, column = matrix[1], matrix[2]
    for s in range(strips):
        some = min(width, max(rows - s * width, 0))
        for n in range(count):
            for unit in range(units):
                source = (blocks[n] * units + unit) * column + s * width * row
                for i in range(some):
                    packed[place + i] = weights[source + i * row]
                for i in range(some, width):
                    packed[place + i] = 0
                place += width
    return place
