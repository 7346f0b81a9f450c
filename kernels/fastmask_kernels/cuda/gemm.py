"""Products over the packed valid steps: everything that does not depend on the step before.

    rows        c[r(p)] = (c[r(p)] +) a[s(p)] b (+ bias)     p = 0 .. P - 1
    over_rows   c = a[s]^T b                                 sums over the P valid steps

Only the device knows P, the last entry of `offsets`; the host knows a bound. A block computes one
tile of c from tiles of a and b in shared memory, a thread one square of it in registers. Sums over
rows are split over blocks and combined in a fixed order, so they repeat to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import cuda

from .ops import fma, inlined
from .runtime import driver as _driver
from .runtime.device import DeviceArray, empty
from .runtime.driver import SIMULATED
from .runtime.kernel import Kernel, family, int32, int64, kernel, number, pointer


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
    """The columns from `first` on of a C-contiguous matrix with `stride` columns."""

    data: DeviceArray
    first: int
    stride: int


def matrix(array: DeviceArray, first: int = 0) -> Matrix:
    """A `Matrix` of an array with two or more dimensions, of which the last one has the columns."""
    return Matrix(array, first, array.shape[-1])


class Rows(NamedTuple):
    """Rows of a matrix by number: row p is matrix[source[p]], or other[-1 - source[p]]."""

    matrix: Matrix
    source: DeviceArray | None = None  # without it row p is matrix[p]
    other: DeviceArray | None = None
    whole: bool = False  # rows beyond the plan may be read: they are zeros, or weights

    def columns(self, first: int) -> Rows:
        """Without the columns before `first`."""
        data, start, stride = self.matrix
        return self._replace(matrix=Matrix(data, start + first, stride))

    def as_argument(self, plan: DeviceArray) -> Rows:
        """The same without None, which kernels do not take."""
        source = plan if self.source is None else self.source
        other = self.matrix.data if self.other is None else self.other
        return Rows(self.matrix, source, other, self.whole)


def matrix_type(dtype: Any) -> Matrix:
    """Type of a kernel's argument that is a `Matrix`."""
    return Matrix(pointer(number(dtype)), int64, int64)


def rows_type(dtype: Any) -> Rows:
    """Type of a kernel's argument that is `Rows`."""
    return Rows(matrix_type(dtype), pointer(int64), pointer(number(dtype)), int32)


@inlined
def row_item(a: Any, row: int, column: int) -> Any:
    """Item of a row that `a.source` names; rows below 0 are in `a.other`."""
    if row >= 0:
        return a.matrix.data[row * a.matrix.stride + a.matrix.first + column]
    return a.other[(-1 - row) * a.matrix.stride + a.matrix.first + column]


@inlined
def matrix_item(b: Any, row: int, column: int) -> Any:
    """Item of a matrix."""
    return b.data[row * b.stride + b.first + column]


def _make_load(zero: Any, shape: Shape, read: Any, transposed: bool, gathered: bool) -> Any:
    """Device function that copies item `i` of a tile, whose rows are inner steps.

    It reads with `row_item` or `matrix_item`; outside the matrix there is `zero`. Inner steps are
    the matrix's columns if it is `transposed`; with `gathered` its rows have a source.
    """
    depth, width = shape.depth, shape.tile

    @inlined
    def load(
        tile: Any, i: int, given: Any, inner: int, inner_end: int, outer: int, outer_end: int
    ) -> None:
        if transposed:
            n, k = i // depth, i % depth
            row, column = outer + n, inner + k
        else:
            k, n = i // width, i % width
            row, column = inner + k, outer + n
        value = zero
        if inner + k < inner_end and outer + n < outer_end:
            if gathered:
                row = given.source[row]
            value = read(given, row, column)
        tile[k * width + n] = value

    return load


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
    real, zero = number(dtype), dtype.type(0)
    given, ints = matrix_type(dtype), pointer(int64)
    load_a = _make_load(zero, shape, row_item, not over_rows, gathered)
    load_b = _make_load(zero, shape, matrix_item, transposed, False)

    @kernel(
        *(given, rows_type(dtype), given, given, ints, (ints, int64), (int64,) * 4, (int64, int64)),
        launch_bounds=(threads, 1),
    )
    def run(
        c: Any, a: Any, b: Any, bias: Any, target: Any, plan: Any, sizes: Any, flags: Any
    ) -> None:
        a_tile = cuda.shared.array(area, real)
        b_tile = cuda.shared.array(area, real)
        sums = cuda.local.array(per_thread, real)
        height, width, length, splits = sizes
        has_bias, add = flags
        offsets, last = plan
        tid = cuda.threadIdx.x
        row, column = tid // side * square, tid % side * square
        # Neighboring blocks share rows of a, which are many; only a grid's x dimension is long.
        across = (width + tile - 1) // tile
        top, left = cuda.blockIdx.x // across * tile, cuda.blockIdx.x % across * tile
        begin, end = int64(0), length
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
                    load_a(a_tile, i, a, k0, end, top, height)
                    load_b(b_tile, i, b, k0, end, left, width)
                cuda.syncthreads()
                for k in range(depth):
                    for i in range(square):
                        value = a_tile[k * tile + row + i]
                        for j in range(square):
                            at = i * square + j
                            sums[at] = fma(value, b_tile[k * tile + column + j], sums[at])
                cuda.syncthreads()
        for i in range(square):
            m = top + row + i
            if m < height:
                at = cuda.blockIdx.z * height + m if over_rows else m
                if scattered:
                    at = target[m]
                for j in range(square):
                    n = left + column + j
                    if n < width:
                        value = sums[i * square + j]
                        if has_bias:
                            value += bias.data[bias.first + n]
                        if add:
                            value += matrix_item(c, at, n)
                        c.data[at * c.stride + c.first + n] = value

    return run


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
        c: `height` rows, or as many as `target` refers to.
        a: rows of the left matrix.
        b: (length, width), or (width, length) if `transposed`.
        plan: offsets (B + 1).
        height: an upper bound on the number of valid steps.
        width: columns of c.
        length: columns of a.
        bias: one row to add.
        target: rows of c.
        transposed: b is given as its transpose.
        add: add to c.
    """
    if not (height and width):
        return
    gathered, scattered = a.source is not None, target is not None
    product = _product(c.data.dtype, SHAPE, False, transposed, gathered, scattered)
    product.launch(
        *(_tiles(height, width), SHAPE.side**2, c, a.as_argument(plan), b, bias or b),
        *(plan if target is None else target, (plan, plan.size - 1), (height, width, length, 1)),
        (bias is not None, add),
    )


def over_rows(
    c: Matrix, a: Rows, b: Matrix, plan: DeviceArray, height: int, width: int, length: int
) -> None:
    """c = a^T b, a sum over the valid steps; arguments as in `rows`.

    `height` is the number of columns of a, `width` that of b; `length` bounds the valid steps.
    """
    if not (height and width):
        return
    tiles = _tiles(height, width)
    splits = max(1, min(2 * _driver.limits().multiprocessors // tiles, length // (8 * SHAPE.depth)))
    parts = c
    if splits > 1:
        parts = Matrix(empty(splits * height * width, c.data.dtype, c.data.device), 0, width)
    product = _product(c.data.dtype, SHAPE, True, False, a.source is not None, False)
    product.launch(
        *((tiles, 1, splits), SHAPE.side**2, parts, a.as_argument(plan), b, b),
        *(plan, (plan, plan.size - 1), (height, width, length, splits), (False, False)),
    )
    if splits > 1:
        _gather_parts(c, parts.data, height, width, splits)


def _tiles(height: int, width: int) -> int:
    return -(-height // SHAPE.tile) * -(-width // SHAPE.tile)


@family("f4", "f8")
def _adder(dtype: Any) -> Kernel:
    zero = dtype.type(0)

    @kernel(matrix_type(dtype), pointer(number(dtype)), int64, int64, int64)
    def run(c: Any, parts: Any, height: int, width: int, splits: int) -> None:
        i = cuda.grid(1)
        if i < height * width:
            total = zero
            for s in range(splits):
                total += parts[s * height * width + i]
            c.data[i // width * c.stride + c.first + i % width] = total

    return run


def _gather_parts(c: Matrix, parts: DeviceArray, height: int, width: int, splits: int) -> None:
    """c = the sum of `splits` matrices, in their order."""
    grid = -(-(height * width) // 64), 64
    _adder(c.data.dtype).launch(*grid, c, parts, height, width, splits)


@family("f4", "f8")
def _column_adder(dtype: Any) -> Kernel:
    zero = dtype.type(0)

    @kernel(pointer(number(dtype)), matrix_type(dtype), (pointer(int64), int64), int64, int64)
    def run(c: Any, b: Any, plan: Any, width: int, splits: int) -> None:
        offsets, last = plan
        n = cuda.grid(1)
        part = -(-offsets[last] // splits)
        begin = cuda.blockIdx.y * part
        if n < width:
            total = zero
            for p in range(begin, min(begin + part, offsets[last])):
                total += matrix_item(b, p, n)
            c[cuda.blockIdx.y * width + n] = total

    return run


def column_sums(c: Matrix, b: Matrix, plan: DeviceArray, width: int, length: int) -> None:
    """c = the sum of b's first P rows; `length` bounds P."""
    if not width:
        return
    threads = 32
    splits = max(1, min(64, length // 64))
    parts = empty(splits * width, c.data.dtype, c.data.device)
    grid = (-(-width // threads), splits), threads
    _column_adder(c.data.dtype).launch(*grid, parts, b, (plan, plan.size - 1), width, splits)
    _gather_parts(c, parts, 1, width, splits)
