"""Products over the packed valid steps, by the tiled kernels of `gemm` or by the array library.

    rows        c[target[p]] = (c[target[p]] +) a[source[p]] b (+ bias)     p = 0 .. P - 1
    over_rows   c = a[source]^T b                                           sums over the P steps

Libraries multiply whole contiguous matrices. Inside `use_products` rows are gathered into such a
matrix, the library multiplies, and bias, sums and target rows follow; a matrix that is already
contiguous is multiplied in place.

If `steps` is longer than the plan, only the device knows P: gathered rows from P on are zeros, so
that they add nothing to a sum, and no row from P on is written.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NamedTuple

from numba import cuda

from ..settings import setting
from . import gemm
from .gemm import Matrix, matrix_type, row_item, rows_type
from .gemm import Rows as Rows
from .runtime.device import OPEN, DeviceArray, empty
from .runtime.kernel import Kernel, family, int32, int64, kernel, lanes_for, number, pointer, span

Multiply = Callable[[DeviceArray, DeviceArray, DeviceArray, bool, bool, bool], None]
Pieces = tuple[tuple[int, int, int], ...]
"""First gate, first column of the weights in units, number of gates."""


class _Library(NamedTuple):
    """The library that multiplies."""

    multiply: Multiply
    exact: bool


_library: ContextVar[_Library | None] = ContextVar("fastmask_cuda_products", default=None)


def use_products(multiply: Multiply | None, exact: bool = False) -> AbstractContextManager[None]:
    """Let the array library do the products over all valid steps, in this thread or task.

    Args:
        multiply: called as `multiply(out, a, b, transpose_a, transpose_b, accumulate)`, it starts
            out (M, N) = a b, or out += a b with `accumulate`, on the stream that kernels are
            launched on. Arrays are C-contiguous, of one dtype, float32 or float64, and on one
            device; they have `__cuda_array_interface__`. a is (M, K), with `transpose_a` (K, M);
            b is (K, N), with `transpose_b` (N, K). No size is 0. None of the arrays may be kept.
            Whether results repeat to the bit is then up to `multiply`, and so is their precision.
            None for fastmask's own kernels.
        exact: `steps` of every plan has exactly offsets[B] entries. Then nothing is gathered if
            all steps are valid, and nothing is copied to leave rows beyond the plan unchanged.
            With a longer `steps` results would be wrong.

    Example:
        def multiply(out, a, b, transpose_a, transpose_b, accumulate):
            out, a, b = (torch.as_tensor(x, device="cuda") for x in (out, a, b))
            a, b = a.T if transpose_a else a, b.T if transpose_b else b
            torch.addmm(out, a, b, beta=int(accumulate), out=out)

        with use_stream(torch.cuda.current_stream().cuda_stream), use_products(multiply):
            lstm_fwd(...)
    """
    return setting(_library, None if multiply is None else _Library(multiply, bool(exact)))


def are_all(places: DeviceArray, steps: int) -> bool:
    """Whether the plan is known to contain all steps: 0, 1, ..., steps - 1."""
    library = _library.get()
    return library is not None and library.exact and places.size == steps


def gathered(a: Rows, plan: DeviceArray, height: int, length: int) -> Rows:
    """The same rows, ready for several products: packed once, if the library does them."""
    library = _library.get()
    if library is None or not (height and length):
        return a
    return Rows(Matrix(_packed(a, plan, height, length, library), 0, length), whole=True)


def arranged(
    gates: Matrix, pieces: Pieces, plan: DeviceArray, height: int, units: int
) -> tuple[Rows, Pieces]:
    """Gates side by side as in the weights, if the library multiplies them.

    A gate has `units` columns, and `height` bounds the number of valid steps. Returns the rows and
    the pieces in them.
    """
    library = _library.get()
    if library is None or not (pieces and height and units):
        return Rows(gates), pieces
    width = units * sum(count for _, _, count in pieces)
    if len(pieces) == 1 and _stands(gates, width) and library.exact:
        return Rows(gates), pieces
    copy = Matrix(empty((height, width), gates.data.dtype, gates.data.device), 0, width)
    first = min(column for _, column, _ in pieces)
    for gate, column, count in pieces:
        part = Rows(copy).columns((column - first) * units).matrix
        _stack(part, Rows(gates).columns(gate * units), plan, height, count * units)
    return Rows(copy, whole=True), ((0, first, width // units),)


def rows(
    c: Matrix,
    a: Rows,
    b: Matrix,
    plan: DeviceArray,
    height: int,
    width: int,
    length: int,
    *,
    bias: Matrix | None = None,
    target: DeviceArray | None = None,
    transposed: bool = False,
    add: bool = False,
) -> None:
    """c[target[p]] = a[p] b for every valid step p; arguments as in `gemm.rows`."""
    library = _library.get()
    if library is None or not (height and width and length):
        given = c, a, b, plan, height, width, length
        gemm.rows(*given, bias=bias, target=target, transposed=transposed, add=add)
        return
    left = _packed(a, plan, height, length, library)
    sizes = (width, length) if transposed else (length, width)
    right = _packed(Rows(b, whole=True), plan, *sizes, library)
    direct = library.exact and target is None and _stands(c, width)
    out = _view(c, height) if direct else empty((height, width), c.data.dtype, c.data.device)
    library.multiply(out, left, right, False, transposed, direct and add)
    if bias is not None or not direct:
        _finish(c, out, plan, height, width, bias, target, add and not direct)


def over_rows(
    c: Matrix, a: Rows, b: Rows, plan: DeviceArray, height: int, width: int, length: int
) -> None:
    """c = a^T b, a sum over the valid steps; arguments as in `gemm.over_rows`."""
    library = _library.get()
    if library is None or not (height and width and length):
        gemm.over_rows(c, a, b.matrix, plan, height, width, length)
        return
    left = _packed(a, plan, length, height, library)
    right = _packed(b, plan, length, width, library)
    direct = _stands(c, width)
    out = _view(c, height) if direct else empty((height, width), c.data.dtype, c.data.device)
    library.multiply(out, left, right, True, False, False)
    if not direct:
        _stack(c, Rows(Matrix(out, 0, width), whole=True), plan, height, width)


def _stands(matrix: Matrix, width: int) -> bool:
    """Whether its rows of `width` numbers are contiguous."""
    return matrix.stride == width


def _view(matrix: Matrix, height: int) -> DeviceArray:
    """Whole rows of a matrix as an array; writeable, as torch takes no other."""
    data = matrix.data
    address = data.address + matrix.first * data.dtype.itemsize
    shape = (height, matrix.stride)
    return DeviceArray(address, shape, data.dtype, data.device, OPEN, data)


def _packed(a: Rows, plan: DeviceArray, height: int, width: int, library: _Library) -> DeviceArray:
    """Contiguous rows, with zeros after the last valid step unless they are whole."""
    if a.source is None and _stands(a.matrix, width) and (library.exact or a.whole):
        return _view(a.matrix, height)
    copy = empty((height, width), a.matrix.data.dtype, a.matrix.data.device)
    _stack(Matrix(copy, 0, width), a, plan, height, width)
    return copy


def _stack(c: Matrix, a: Rows, plan: DeviceArray, height: int, width: int) -> None:
    """c[p] = a[p] in `width` columns; 0 after the last valid step unless a is whole."""
    lanes = lanes_for(width)
    _stacker(c.data.dtype).launch(
        *(*span(height, lanes), c, a.as_argument(plan), a.source is not None),
        *((plan, plan.size - 1), (height, width, lanes)),
    )


def _finish(
    c: Matrix,
    y: DeviceArray,
    plan: DeviceArray,
    height: int,
    width: int,
    bias: Matrix | None,
    target: DeviceArray | None,
    add: bool,
) -> None:
    """c[target[p]] = (c[target[p]] +) y[p] (+ bias) at the valid steps; c and y may be one."""
    lanes = lanes_for(width)
    _finisher(c.data.dtype).launch(
        *(*span(height, lanes), c, y, bias or c, plan if target is None else target),
        *((plan, plan.size - 1), (height, width, lanes)),
        (bias is not None, target is not None, add),
    )


# `lanes` lanes share a row, a power of two: no element needs a division.
_SIZES = int64, int64, int32


@family("f4", "f8")
def _stacker(dtype: Any) -> Kernel:
    zero = dtype.type(0)

    @kernel(matrix_type(dtype), rows_type(dtype), int32, (pointer(int64), int64), _SIZES)
    def stack(c: Any, a: Any, has_source: int, plan: Any, sizes: Any) -> None:
        offsets, last = plan
        height, width, lanes = sizes
        lane = cuda.laneid & (lanes - 1)
        count = height
        if not a.whole:
            count = min(offsets[last], height)
        p = cuda.grid(1) // lanes
        while p < height:
            to = p * c.stride + c.first
            row = p
            if has_source and p < count:
                row = a.source[p]
            n = lane
            while n < width:
                c.data[to + n] = row_item(a, row, n) if p < count else zero
                n += lanes
            p += cuda.gridsize(1) // lanes

    return stack


@family("f4", "f8")
def _finisher(dtype: Any) -> Kernel:
    given, ints = matrix_type(dtype), pointer(int64)

    @kernel(*(given, pointer(number(dtype)), given, ints, (ints, int64), _SIZES, (int32,) * 3))
    def finish(c: Any, y: Any, bias: Any, target: Any, plan: Any, sizes: Any, flags: Any) -> None:
        has_bias, has_target, add = flags
        offsets, last = plan
        height, width, lanes = sizes
        lane = cuda.laneid & (lanes - 1)
        count = min(offsets[last], height)
        p = cuda.grid(1) // lanes
        while p < count:
            row = p
            if has_target:
                row = target[p]
            to = row * c.stride + c.first
            n = lane
            while n < width:
                value = y[p * width + n]
                if has_bias:
                    value += bias.data[bias.first + n]
                if add:
                    value += c.data[to + n]
                c.data[to + n] = value
                n += lanes
            p += cuda.gridsize(1) // lanes

    return finish
