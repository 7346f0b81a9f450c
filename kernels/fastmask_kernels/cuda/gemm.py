"""Products over the packed valid steps, all that does not wait for the step before.

    rows        c[r(p)] = (c[r(p)] +) a[s(p)] b (+ bias)     p = 0 .. P - 1
    over_rows   c = a[s]^T b                                 sums over the P valid steps

P is known on the device alone: it is the last entry of `offsets`; what the host knows is a bound.
A block computes one tile of c from tiles of a and b in shared memory, a thread a square of it
from registers. Sums over rows are split over blocks and put together in a fixed order, so they
repeat to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import cuda

from .ops import fma
from .rnn.resident import multiprocessors
from .runtime.device import DeviceArray, empty
from .runtime.driver import SIMULATED
from .runtime.kernel import Kernel, family, int64, kernel, number, pointer


class Shape(NamedTuple):
    """Sizes of a block's work."""

    side: int  # threads along one side of the tile
    square: int  # numbers of a thread along one side
    depth: int  # inner steps between two barriers

    @property
    def tile(self) -> int:
        """Numbers along one side of the tile."""
        return self.side * self.square


SHAPE = Shape(4, 2, 4) if SIMULATED else Shape(16, 4, 16)


class Matrix(NamedTuple):
    """Columns `first` and on of a C-contiguous matrix with `stride` columns."""

    data: DeviceArray
    first: int
    stride: int


def matrix(array: DeviceArray, first: int = 0) -> Matrix:
    """Of an array of two dimensions or more, whose last one are the columns."""
    return Matrix(array, first, array.shape[-1])


@family(
    ("f4", SHAPE, False, False, True, False),
    ("f4", SHAPE, False, True, False, True),
    ("f4", SHAPE, True, False, True, False),
    ("f8", SHAPE, True, False, True, False),
)
def _product(
    dtype: Any, shape: Shape, over_rows: bool, transposed: bool, gathered: bool, scattered: bool
) -> Kernel:
    """The kernel; `transposed` says that b is given as its transpose.

    With `over_rows` the inner index is p and a is read as its transpose.
    """
    side, square, depth = shape
    tile = shape.tile
    area = tile * depth
    threads = side * side
    per_thread = square * square
    zero = dtype.type(0)
    real = number(dtype)
    reals, ints = pointer(real), pointer(int64)

    @kernel(
        *(reals, int64, int64, reals, int64, int64, reals, reals, int64, int64, reals, int64),
        *(int64, int64, ints, ints, ints, int64, int64, int64, int64, int64),
        launch_bounds=(threads, 1),
    )
    def run(
        c: Any,
        c_first: int,
        c_stride: int,
        a: Any,
        a_first: int,
        a_stride: int,
        other: Any,
        b: Any,
        b_first: int,
        b_stride: int,
        bias: Any,
        bias_first: int,
        has_bias: bool,
        add: bool,
        source: Any,
        target: Any,
        offsets: Any,
        last: int,
        height: int,
        width: int,
        length: int,
        splits: int,
    ) -> None:
        a_tile = cuda.shared.array(area, real)
        b_tile = cuda.shared.array(area, real)
        sums = cuda.local.array(per_thread, real)
        tid = cuda.threadIdx.x
        row, column = tid // side, tid % side
        # Neighbours share rows of a, which are many; the first dimension of a grid alone is long.
        across = (width + tile - 1) // tile
        top, left = cuda.blockIdx.x // across * tile, cuda.blockIdx.x % across * tile
        begin, end = length - length, length
        if over_rows:
            part = -(-offsets[last] // splits)
            begin = cuda.blockIdx.z * part
            end = min(begin + part, offsets[last])
        else:
            height = min(height, offsets[last])
        for i in range(per_thread):
            sums[i] = zero
        if over_rows or top < height:
            for k0 in range(begin, end, depth):
                for i in range(tid, area, threads):
                    if over_rows:
                        k, m = i // tile, i % tile
                        value = zero
                        if k0 + k < end and top + m < height:
                            at = k0 + k
                            if gathered:
                                at = source[at]
                            if at >= 0:
                                value = a[at * a_stride + a_first + top + m]
                            else:
                                value = other[(-1 - at) * a_stride + a_first + top + m]
                        a_tile[k * tile + m] = value
                    else:
                        m, k = i // depth, i % depth
                        value = zero
                        if k0 + k < end and top + m < height:
                            at = top + m
                            if gathered:
                                at = source[at]
                            if at >= 0:
                                value = a[at * a_stride + a_first + k0 + k]
                            else:
                                value = other[(-1 - at) * a_stride + a_first + k0 + k]
                        a_tile[k * tile + m] = value
                    value = zero
                    if transposed:
                        n, k = i // depth, i % depth
                        if k0 + k < end and left + n < width:
                            value = b[(left + n) * b_stride + b_first + k0 + k]
                    else:
                        k, n = i // tile, i % tile
                        if k0 + k < end and left + n < width:
                            value = b[(k0 + k) * b_stride + b_first + left + n]
                    b_tile[k * tile + n] = value
                cuda.syncthreads()
                for k in range(depth):
                    for i in range(square):
                        value = a_tile[k * tile + row * square + i]
                        for j in range(square):
                            sums[i * square + j] = fma(
                                value, b_tile[k * tile + column * square + j], sums[i * square + j]
                            )
                cuda.syncthreads()
            for i in range(square):
                m = top + row * square + i
                if m < height:
                    at = cuda.blockIdx.z * height + m if over_rows else m + 0 * cuda.blockIdx.z
                    if scattered:
                        at = target[m]
                    for j in range(square):
                        n = left + column * square + j
                        if n < width:
                            value = sums[i * square + j]
                            if has_bias:
                                value += bias[bias_first + n]
                            if add:
                                value += c[at * c_stride + c_first + n]
                            c[at * c_stride + c_first + n] = value

    return run


def rows(
    c: Matrix,
    a: Matrix,
    b: Matrix,
    plan: Any,
    height: int,
    width: int,
    length: int,
    *,
    bias: Matrix | None = None,
    source: Any = None,
    other: Any = None,
    target: Any = None,
    transposed: bool = False,
    add: bool = False,
) -> None:
    """c[target[p]] = a[source[p]] b for every valid step p.

    Args:
        c: height rows or as many as `target` leads to.
        a: rows of the left matrix.
        b: (length, width), or (width, length) if `transposed`.
        plan: offsets (B + 1).
        height: a bound of the number of valid steps.
        width: columns of c.
        length: columns of a.
        bias: one row to add.
        source: rows of a; -1 - i is row i of `other`.
        other: a second a.
        target: rows of c.
        transposed: b is given as its transpose.
        add: c is added to.
    """
    if not (height and width):
        return
    product = _product(
        c.data.dtype, SHAPE, False, transposed, source is not None, target is not None
    )
    blocks = (-(-height // SHAPE.tile) * -(-width // SHAPE.tile), 1, 1)
    _run(product, blocks, c, a, b, plan, height, width, length, 1, bias, source, other, target, add)


def over_rows(
    c: Matrix,
    a: Matrix,
    b: Matrix,
    plan: Any,
    height: int,
    width: int,
    length: int,
    *,
    source: Any = None,
    other: Any = None,
) -> None:
    """c = a[source]^T b, a sum over the valid steps; arguments as those of `rows`.

    `height` are columns of a, `width` columns of b and `length` bounds the number of valid steps.
    """
    if not (height and width):
        return
    tiles = -(-height // SHAPE.tile) * -(-width // SHAPE.tile)
    wanted = 2 * multiprocessors() // tiles
    splits = max(1, min(wanted, length // (8 * SHAPE.depth)))
    product = _product(c.data.dtype, SHAPE, True, False, source is not None, False)
    parts = c
    if splits > 1:
        parts = Matrix(empty(splits * height * width, c.data.dtype, c.data.device), 0, width)
    _run(
        product,
        (tiles, 1, splits),
        parts,
        a,
        b,
        plan,
        height,
        width,
        length,
        splits,
        None,
        source,
        other,
        None,
        False,
    )
    if splits > 1:
        _gather_parts(c, parts.data, height, width, splits)


def _run(
    product: Kernel,
    blocks: Any,
    c: Matrix,
    a: Matrix,
    b: Matrix,
    plan: Any,
    height: int,
    width: int,
    length: int,
    splits: int,
    bias: Matrix | None,
    source: Any,
    other: Any,
    target: Any,
    add: bool,
) -> None:
    data, first = (b.data, 0) if bias is None else (bias.data, bias.first)
    args = (
        *(c.data, c.first, c.stride, a.data, a.first, a.stride),
        *(a.data if other is None else other, b.data, b.first, b.stride),
        *(data, first, bias is not None, add),
        *(plan if source is None else source, plan if target is None else target),
        *(plan, plan.size - 1, height, width, length, splits),
    )
    product.launch(blocks, SHAPE.side**2, *args)


@family("f4", "f8")
def _adder(dtype: Any) -> Kernel:
    zero = dtype.type(0)
    reals = pointer(number(dtype))

    @kernel(reals, int64, int64, reals, int64, int64, int64)
    def run(
        c: Any, first: int, stride: int, parts: Any, height: int, width: int, splits: int
    ) -> None:
        i = cuda.grid(1)
        if i < height * width:
            total = zero
            for s in range(splits):
                total += parts[s * height * width + i]
            c[i // width * stride + first + i % width] = total

    return run


def _gather_parts(c: Matrix, parts: Any, height: int, width: int, splits: int) -> None:
    """c = the sum of `splits` matrices, in their order."""
    _adder(c.data.dtype).launch(
        *(-(-(height * width) // 64), 64),
        *(c.data, c.first, c.stride, parts, height, width, splits),
    )


@family("f4", "f8")
def _column_adder(dtype: Any) -> Kernel:
    zero = dtype.type(0)
    reals = pointer(number(dtype))

    @kernel(reals, reals, int64, int64, pointer(int64), int64, int64, int64)
    def run(
        c: Any, b: Any, first: int, stride: int, offsets: Any, last: int, width: int, splits: int
    ) -> None:
        n = cuda.grid(1)
        part = -(-offsets[last] // splits)
        begin = cuda.blockIdx.y * part
        if n < width:
            total = zero
            for p in range(begin, min(begin + part, offsets[last])):
                total += b[p * stride + first + n]
            c[cuda.blockIdx.y * width + n] = total

    return run


def column_sums(c: Matrix, b: Matrix, plan: Any, width: int, length: int) -> None:
    """c = the sum of b's first P rows; `length` bounds P."""
    if not width:
        return
    threads = 32
    splits = max(1, min(64, length // 64))
    parts = empty(splits * width, c.data.dtype, c.data.device)
    _column_adder(c.data.dtype).launch(
        *((-(-width // threads), splits), threads),
        *(parts, b.data, b.first, b.stride, plan, plan.size - 1, width, splits),
    )
    _gather_parts(c, parts, 1, width, splits)
