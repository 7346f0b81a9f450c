"""Products over the packed valid steps: by the tiled kernels of `gemm`, or by the arrays' owner.

    rows        c[target[p]] = (c[target[p]] +) a[source[p]] b (+ bias)     p = 0 .. P - 1
    over_rows   c = a[source]^T b                                           sums over the P steps

Libraries multiply whole matrices that stand in memory row by row. Inside `use_products` rows are
gathered into such a matrix, the owner multiplies, and bias, sums and target rows are seen to
afterwards; what already stands as it must is multiplied where it is.

Where `steps` is longer than the plan, P is known on the device alone: gathered rows behind it are
zeros, so that they add nothing to a sum, and no row behind it is written.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from numba import cuda

from . import gemm
from .gemm import Matrix
from .runtime.device import DeviceArray, Flags, empty
from .runtime.kernel import (
    Kernel,
    blocks_for,
    family,
    int32,
    int64,
    kernel,
    lanes_for,
    number,
    pointer,
    threads_for,
)

Multiply = Callable[[DeviceArray, DeviceArray, DeviceArray, bool, bool, bool], None]


Pieces = tuple[tuple[int, int, int], ...]


class _Owner(NamedTuple):
    """Who multiplies."""

    multiply: Multiply
    exact: bool


_owner: contextvars.ContextVar[_Owner | None] = contextvars.ContextVar(
    "fastmask_cuda_products", default=None
)


@contextmanager
def use_products(multiply: Multiply | None, exact: bool = False) -> Iterator[None]:
    """Let the arrays' owner do the products over all valid steps, in this thread or task.

    Args:
        multiply: called as `multiply(out, a, b, transpose_a, transpose_b, accumulate)`, it starts
            out (M, N) = a b, or out += a b with `accumulate`, on the stream that kernels are
            launched on. Arrays are C-contiguous, of one dtype, float32 or float64, and of one
            device; they have `__cuda_array_interface__`. a is (M, K), with `transpose_a` (K, M);
            b is (K, N), with `transpose_b` (N, K). No size is 0. None of the arrays may be kept.
            Whether results repeat to the bit is then up to `multiply`, and so is their precision.
            None for fastmask's own kernels.
        exact: `steps` of every plan has exactly offsets[B] entries. Nothing then needs to be
            gathered where all steps are valid, nor copied to keep rows behind the plan as they
            are. With a longer `steps` results would be wrong.

    Example:
        def multiply(out, a, b, transpose_a, transpose_b, accumulate):
            out, a, b = (torch.as_tensor(x, device="cuda") for x in (out, a, b))
            a, b = a.T if transpose_a else a, b.T if transpose_b else b
            torch.addmm(out, a, b, beta=int(accumulate), out=out)

        with use_stream(torch.cuda.current_stream().cuda_stream), use_products(multiply):
            lstm_fwd(...)
    """
    token = _owner.set(None if multiply is None else _Owner(multiply, bool(exact)))
    try:
        yield
    finally:
        _owner.reset(token)


class Rows(NamedTuple):
    """Rows of a matrix by number: row p is matrix[source[p]], or other[-1 - source[p]]."""

    matrix: Matrix
    source: DeviceArray | None = None  # without it row p is matrix[p]
    other: DeviceArray | None = None
    ends: bool = False  # rows behind the plan are zeros

    def columns(self, first: int) -> Rows:
        """Without the columns before `first`."""
        data, start, stride = self.matrix
        return self._replace(matrix=Matrix(data, start + first, stride))


def are_all(places: DeviceArray, steps: int) -> bool:
    """Whether the plan's steps are known to be all there are: 0, 1, ..., steps - 1."""
    owner = _owner.get()
    return owner is not None and owner.exact and places.size == steps


def gathered(a: Rows, plan: DeviceArray, height: int, length: int) -> Rows:
    """The same rows, ready for several products: packed once, if the owner does them."""
    owner = _owner.get()
    if owner is None or not (height and length):
        return a
    return Rows(Matrix(_stacked(a, plan, height, length, owner), 0, length), ends=True)


def arranged(
    gates: Matrix, pieces: Pieces, plan: DeviceArray, height: int, units: int
) -> tuple[Rows, Pieces]:
    """Gates one after the other as in the weights, if the owner multiplies them.

    Args:
        gates: of every valid step, `units` columns each.
        pieces: first gate, first column of weights in units, number of gates.
        plan: offsets (B + 1).
        height: a bound of the number of valid steps.
        units: columns of a gate.

    Returns:
        Their rows, and which pieces stand in them.
    """
    owner = _owner.get()
    if owner is None or not (pieces and height and units):
        return Rows(gates), pieces
    width = units * sum(count for _, _, count in pieces)
    if len(pieces) == 1 and _stands(gates, width) and owner.exact:
        return Rows(gates), pieces
    copy = Matrix(empty((height, width), gates.data.dtype, gates.data.device), 0, width)
    first = min(column for _, column, _ in pieces)
    for gate, column, count in pieces:
        part = Rows(copy).columns((column - first) * units).matrix
        _stack(part, Rows(gates).columns(gate * units), plan, height, count * units)
    return Rows(copy, ends=True), ((0, first, width // units),)


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
    """c[target[p]] = a[p] b for every valid step p.

    Args:
        c: height rows or as many as `target` leads to.
        a: rows of the left matrix.
        b: (length, width), or (width, length) if `transposed`.
        plan: offsets (B + 1).
        height: a bound of the number of valid steps.
        width: columns of c.
        length: columns of a.
        bias: one row to add.
        target: rows of c.
        transposed: b is given as its transpose.
        add: c is added to.
    """
    owner = _owner.get()
    if owner is None or not (height and width and length):
        gemm.rows(
            *(c, a.matrix, b, plan, height, width, length),
            bias=bias,
            source=a.source,
            other=a.other,
            target=target,
            transposed=transposed,
            add=add,
        )
        return
    left = _stacked(a, plan, height, length, owner)
    right = _whole(b, plan, *((width, length) if transposed else (length, width)))
    direct = owner.exact and target is None and _stands(c, width)
    out = _view(c, height) if direct else empty((height, width), c.data.dtype, c.data.device)
    owner.multiply(out, left, right, False, transposed, direct and add)
    if bias is not None or not direct:
        _finish(c, out, plan, height, width, bias, target, add and not direct)


def over_rows(
    c: Matrix, a: Rows, b: Rows, plan: DeviceArray, height: int, width: int, length: int
) -> None:
    """c = a^T b, a sum over the valid steps; arguments as those of `rows`.

    `height` are columns of a, `width` columns of b and `length` bounds the number of valid steps.
    """
    owner = _owner.get()
    if owner is None or not (height and width and length):
        gemm.over_rows(
            *(c, a.matrix, b.matrix, plan, height, width, length), source=a.source, other=a.other
        )
        return
    left = _stacked(a, plan, length, height, owner)
    right = _stacked(b, plan, length, width, owner)
    direct = _stands(c, width)
    out = _view(c, height) if direct else empty((height, width), c.data.dtype, c.data.device)
    owner.multiply(out, left, right, True, False, False)
    if not direct:
        _finish(c, out, plan, height, width, whole=True)


def _stands(matrix: Matrix, width: int) -> bool:
    """Whether its rows of `width` numbers follow one on the other."""
    return matrix.stride == width


def _view(matrix: Matrix, height: int) -> DeviceArray:
    """Whole rows of a matrix as an array. It may be written: torch takes no others."""
    data = matrix.data
    address = data.address + matrix.first * data.dtype.itemsize
    shape = (height, matrix.stride)
    return DeviceArray(address, shape, data.dtype, data.device, Flags(True, True, True), data)


def _stacked(a: Rows, plan: DeviceArray, height: int, width: int, owner: _Owner) -> DeviceArray:
    """Rows one on the other, with zeros behind the last valid step."""
    if a.source is None and _stands(a.matrix, width) and (owner.exact or a.ends):
        return _view(a.matrix, height)
    data = a.matrix.data
    copy = empty((height, width), data.dtype, data.device)
    _stack(Matrix(copy, 0, width), a, plan, height, width)
    return copy


def _whole(matrix: Matrix, plan: DeviceArray, height: int, width: int) -> DeviceArray:
    """A matrix of weights, whose rows all count."""
    if _stands(matrix, width):
        return _view(matrix, height)
    data = matrix.data
    copy = empty((height, width), data.dtype, data.device)
    _stack(Matrix(copy, 0, width), Rows(matrix), plan, height, width, whole=True)
    return copy


def _stack(
    c: Matrix, a: Rows, plan: DeviceArray, height: int, width: int, whole: bool = False
) -> None:
    """c[p] = a[p] in `width` columns; 0 behind the last valid step unless `whole`."""
    data = a.matrix.data
    lanes = lanes_for(width)
    _stacker(c.data.dtype).launch(
        *_span(height, lanes),
        *(*c, *a.matrix, data if a.other is None else a.other),
        *(plan if a.source is None else a.source, a.source is not None),
        *(plan, -1 if whole else plan.size - 1, height, width, lanes),
    )


def _finish(
    c: Matrix,
    y: DeviceArray,
    plan: DeviceArray,
    height: int,
    width: int,
    bias: Matrix | None = None,
    target: DeviceArray | None = None,
    add: bool = False,
    whole: bool = False,
) -> None:
    """c[target[p]] = (c[target[p]] +) y[p] (+ bias) at the valid steps; c and y may be one."""
    row, first = (y, 0) if bias is None else (bias.data, bias.first)
    lanes = lanes_for(width)
    _finisher(c.data.dtype).launch(
        *_span(height, lanes),
        *(*c, y, row, first, bias is not None, add),
        *(plan if target is None else target, target is not None),
        *(plan, -1 if whole else plan.size - 1, height, width, lanes),
    )


def _span(rows_: int, lanes: int) -> tuple[int, int]:
    """Blocks and threads for rows that `lanes` lanes share."""
    threads = threads_for(rows_ * lanes)
    return blocks_for(rows_, threads // lanes), threads


# A row is shared by `lanes` lanes, a power of two: no number is divided for an element.


@family("f4", "f8")
def _stacker(dtype: Any) -> Kernel:
    zero = dtype.type(0)
    reals, ints = pointer(number(dtype)), pointer(int64)

    @kernel(
        *(reals, int64, int64, reals, int64, int64, reals),
        *(ints, int32, ints, int64, int64, int64, int32),
    )
    def stack(
        c: Any,
        c_first: int,
        c_stride: int,
        a: Any,
        a_first: int,
        a_stride: int,
        other: Any,
        source: Any,
        has_source: int,
        offsets: Any,
        last: int,
        height: int,
        width: int,
        lanes: int,
    ) -> None:
        lane = cuda.laneid & (lanes - 1)
        count = height
        if last >= 0:
            count = min(offsets[last], height)
        p = cuda.grid(1) // lanes
        while p < height:
            to = p * c_stride + c_first
            row = p
            if has_source and p < count:
                row = source[p]
            n = lane
            while n < width:
                value = zero
                if p < count and row >= 0:
                    value = a[row * a_stride + a_first + n]
                elif p < count:
                    value = other[(-1 - row) * a_stride + a_first + n]
                c[to + n] = value
                n += lanes
            p += cuda.gridsize(1) // lanes

    return stack


@family("f4", "f8")
def _finisher(dtype: Any) -> Kernel:
    reals, ints = pointer(number(dtype)), pointer(int64)

    @kernel(
        *(reals, int64, int64, reals, reals, int64, int32, int32),
        *(ints, int32, ints, int64, int64, int64, int32),
    )
    def finish(
        c: Any,
        c_first: int,
        c_stride: int,
        y: Any,
        bias: Any,
        bias_first: int,
        has_bias: int,
        add: int,
        target: Any,
        has_target: int,
        offsets: Any,
        last: int,
        height: int,
        width: int,
        lanes: int,
    ) -> None:
        lane = cuda.laneid & (lanes - 1)
        count = height
        if last >= 0:
            count = min(offsets[last], height)
        p = cuda.grid(1) // lanes
        while p < count:
            row = p
            if has_target:
                row = target[p]
            to = row * c_stride + c_first
            n = lane
            while n < width:
                value = y[p * width + n]
                if has_bias:
                    value += bias[bias_first + n]
                if add:
                    value += c[to + n]
                c[to + n] = value
                n += lanes
            p += cuda.gridsize(1) // lanes

    return finish
