"""The gradients that follow from dZ without a loop over time, shared by a call's threads.

    dkernel = X^T dZ    drecurrent_kernel = H_before^T dZ    dbias = sum of dZ    dX = dZ W^T

with one row for each valid step. X, H_before and dZ are read in place. For a sum that is called on
a value, this value replaces H_before. Blocks of H columns are in the order of z; in the weights
they are in the order of the formula.

The first three are one product, (X H_before 1)^T dZ: a thread takes some strips of its columns,
one block of steps after the other. It packs a block's rows of X and H_before, transposed, into the
L2 cache, and a strip of dZ into the L1 cache. dX is computed for a few steps at a time. Every sum
runs over the steps, or over the columns of dZ, in ascending order, so that it does not depend on
the number of threads.

K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..jit import inlined, inner
from ..parallel.atomics import atomic_add
from ..parallel.barrier import NEXT_ROW, ROWS_DONE, wait_for
from ..simd import VECTOR_BYTES, copy_row, fill_row, flat_from, lanes, lanes_of
from .backward import multiply
from .batch import row_start
from .cell_gradients import PANEL
from .columns import Columns
from .transpose import STRIP, address_of, pack_strip, pointer_at, transpose_rows
from .words import DX, DX_COLUMNS, FEATURES, ITEMS, OUTS, X

Ints = NDArray[np.int64]

STRIP_BYTES = 24 << 10  # of dZ that is packed at a time: most of the L1 cache
BLOCK = STRIP_BYTES // (STRIP * VECTOR_BYTES)  # steps that are packed at a time
ROW = BLOCK + VECTOR_BYTES // 4  # from one packed row to the next: not a power of two
MOST_ROWS = 264  # of X and H_before that are packed at a time
MOST_STRIPS = 16  # strips whose sums the L2 cache holds
DX_ROWS = 48  # steps of dX that a thread computes at a time
INDICES = BLOCK + max(MOST_ROWS, DX_ROWS)  # integers of a thread

# A work item: columns of dZ, and three kinds of rows that they are multiplied by, which are rows of
# X; of H_before, or of a value that a sum is called on; and ones.
COLUMN, COLUMNS, OPERAND, KINDS = range(4)  # OPERAND: column of `gates`, -1 for H_before
OF_X, OF_H, OF_ONE = range(3)
FIRST, ROWS, OUT, OUT_COLUMN, KIND_WORDS = range(5)  # of a kind; OUT counts from OUTS on
WORDS = KINDS + 3 * KIND_WORDS


class _Segment(NamedTuple):
    """Neighboring blocks of `gates` that the same rows are multiplied by; -1 for nothing."""

    block: int  # of `gates`, the first one
    blocks: int
    inputs: int  # of the kernel, the block that the product with X belongs to
    recurrent: int  # of the recurrent kernel, likewise
    bias: int  # of the bias, or of a vector
    operand: int  # block of `gates`, where `recurrent` is not of the product with H_before
    out: int  # what `bias` is a block of

    @property
    def next(self) -> _Segment:
        """The following block, if it belongs to the segment."""
        n = self.blocks
        inputs, recurrent, bias = (block + n if block >= 0 else -1 for block in self[2:5])
        return _Segment(self.block + n, 1, inputs, recurrent, bias, self.operand, self.out)


def segments_of(columns: Columns) -> list[_Segment]:
    """The segments of a cell."""
    called = {each.block: (each.column, each.operand) for each in columns.called}
    at_once = enumerate(columns.at_once, columns.first)
    recurrent = {**{block: (number, -1) for block, number in at_once}, **called}
    inputs = dict(enumerate(columns.inputs))
    found: list[_Segment] = []
    for block, bias in enumerate(columns.bias):
        number, operand = recurrent.get(block, (-1, -1))
        one = _Segment(block, 1, inputs.get(block, -1), number, bias, operand, 2)
        if found and one == found[-1].next:
            found[-1] = found[-1]._replace(blocks=found[-1].blocks + 1)
        else:
            found.append(one)
    vectors = range(len(columns.cell.vectors))
    return [*found, *(_Segment(columns.vectors + n, 1, -1, -1, 0, -1, 3 + n) for n in vectors)]


def items_of(columns: Columns, features: int, units: int, threads: int, dtype: Any) -> list[int]:
    """The words of the work items for the gradients of the weights, one item after the other."""
    words, width = [], STRIP * lanes(dtype)
    for segment in segments_of(columns):
        of_x = features if segment.inputs >= 0 else 0
        of_h = units if segment.recurrent >= 0 else 0
        rows, strips = of_x + of_h + 1, -(-segment.blocks * units // width)
        of_rows = max(_parts_of_rows(rows, strips * width, threads), -(-rows // MOST_ROWS))
        of_columns = min(max(-(-threads // of_rows), -(-strips // MOST_STRIPS)), strips)
        operand = segment.operand * units if segment.operand >= 0 else -1
        for part in range(of_rows * of_columns):
            row, column = divmod(part, of_columns)
            top, bottom = row * rows // of_rows, (row + 1) * rows // of_rows
            left = column * strips // of_columns * width
            right = min((column + 1) * strips // of_columns * width, segment.blocks * units)
            words += [segment.block * units + left, right - left, operand]
            begin = 0
            for out, block, size in (
                (0, segment.inputs, of_x),
                (1, segment.recurrent, of_h),
                (segment.out, segment.bias, 1),
            ):
                first, last = max(top - begin, 0), min(bottom - begin, size)
                words += [first, max(last - first, 0), out, block * units + left]
                begin += size
    return words


def _parts_of_rows(rows: int, columns: int, threads: int) -> int:
    """How many parts of rows let threads pack least; it divides the number of threads."""
    parts = [n for n in range(1, min(threads, rows) + 1) if threads % n == 0]
    return min(parts, key=lambda n: rows / n + columns * n / threads)


@inner
def _row_of_step(offsets: Any, rows: int, step: int) -> int:
    """The row that a step belongs to."""
    low, high = 0, rows
    while high - low > 1:
        middle = (low + high) // 2
        if offsets[middle] <= step:
            low = middle
        else:
            high = middle
    return low


@inner
def _find_h(batch: Any, rows: int, begin: int, count: int, addresses: Any) -> None:
    """Write the addresses of h before each of some steps."""
    units, offsets = batch.units, batch.offsets
    row = _row_of_step(offsets, rows, begin)
    for i in range(count):
        p = begin + i
        while p >= offsets[row + 1]:
            row += 1
        edge = offsets[row + 1] - 1 if batch.reverse else offsets[row]
        if p == edge:
            addresses[i] = address_of(batch.first[0], row * units)
        else:
            before = p + 1 if batch.reverse else p - 1
            addresses[i] = address_of(batch.states[0], before * units)


@inner
def _pack_rows(
    batch: Any, wanted: Any, item: Any, rows: int, begin: int, count: int, left: Any, addresses: Any
) -> None:
    """Pack an item's rows of (X H_before 1)^T for some steps."""
    start = np.int64(0)
    for kind in range(2):
        own = flat_from(item, KINDS + kind * KIND_WORDS)
        if own[ROWS] == 0:
            continue
        if kind == OF_H and item[OPERAND] < 0:
            _find_h(batch, rows, begin, count, addresses)
        else:
            for i in range(count):
                p = begin + i
                if kind == OF_X:
                    place = batch.steps[p] * wanted[FEATURES]
                    addresses[i] = address_of(pointer_at(left, wanted[X]), place)
                else:
                    place = p * batch.gates_width + item[OPERAND]
                    addresses[i] = address_of(batch.gates, place)
        transpose_rows(addresses, count, own[FIRST], own[ROWS], left, start, ROW)
        start += own[ROWS] * ROW
    if item[KINDS + OF_ONE * KIND_WORDS + ROWS] != 0:
        for p in range(count):
            left[start + p] = 1


@inner
def _weight_gradients(
    batch: Any, wanted: Any, item: Any, rows: int, steps: int, memory: Any, addresses: Any
) -> None:
    """Compute one work item."""
    lanes, zero, all_rows = lanes_of(memory), np.int64(0), np.int64(0)
    width, panel = STRIP * lanes, PANEL * lanes
    for kind in range(3):
        all_rows += item[KINDS + kind * KIND_WORDS + ROWS]
    strip = flat_from(memory, (all_rows + lanes) * ROW)
    sums = flat_from(strip, BLOCK * width)
    own = flat_from(addresses, zero + BLOCK)
    for i in range(0, -(-item[COLUMNS] // panel) * all_rows * panel, lanes):
        fill_row(sums, i, lanes)
    for i in range(all_rows):
        own[i] = i * ROW
    for begin in range(0, steps, BLOCK):
        count = min(BLOCK, steps - begin)
        _pack_rows(batch, wanted, item, rows, begin, count, memory, addresses)
        for left in range(0, item[COLUMNS], width):
            source = begin * batch.gates_width + item[COLUMN] + left
            columns = item[COLUMNS] - left
            pack_strip(batch.gates, source, batch.gates_width, count, columns, strip)
            place = left // panel * all_rows * panel + left % panel
            multiply(
                *(zero + STRIP, all_rows, memory, zero, own, count, strip, zero, zero),
                *(sums, place, panel, sums, place),
            )
    _write(wanted, item, all_rows, sums)


@inner
def _write(wanted: Any, item: Any, all_rows: int, sums: Any) -> None:
    """Write the sums of an item to where they belong."""
    lanes, begin = lanes_of(sums), np.int64(0)
    panel = PANEL * lanes
    for kind in range(3):
        own = flat_from(item, KINDS + kind * KIND_WORDS)
        matrix = flat_from(wanted, OUTS + 3 * own[OUT])
        out, row, column = pointer_at(sums, matrix[0]), matrix[1], matrix[2]
        for left in range(0, item[COLUMNS], lanes):
            source = left // panel * all_rows * panel + begin * panel + left % panel
            target = own[FIRST] * row + (own[OUT_COLUMN] + left) * column
            some = min(lanes, item[COLUMNS] - left)
            for k in range(own[ROWS]):
                for i in range(some):
                    out[target + k * row + i * column] = sums[source + k * panel + i]
        begin += own[ROWS]


@inner
def _input_gradient(
    batch: Any,
    wanted: Any,
    item: int,
    positions: int,
    steps: int,
    weights: Any,
    memory: Any,
    index: Any,
) -> None:
    """Write dX at a few steps, and zeros between them."""
    lanes, zero = lanes_of(memory), np.int64(0)
    features, width, panel = wanted[FEATURES], STRIP * lanes, PANEL * lanes
    dx, depth = pointer_at(memory, wanted[DX]), wanted[DX_COLUMNS]
    begin = item * DX_ROWS
    count = min(DX_ROWS, steps - begin)
    zeros = DX_ROWS * panel
    for i in range(zeros, zeros + panel, lanes):
        fill_row(memory, i, lanes)
    for i in range(count):
        index[i] = (begin + i) * batch.gates_width
    for left in range(0, features, width):
        multiply(
            *(zero + STRIP, count, batch.gates, zero, index, depth),
            *(weights, left * depth, zero, memory, zeros, zero, memory, zero),
        )
        for i in range(count):
            for v in range(0, width, lanes):
                some = min(lanes, features - left - v)
                if some > 0:
                    place = batch.steps[begin + i] * features + left + v
                    copy_row(dx, place, memory, i * panel + v, some)
    end = batch.steps[begin - 1] + 1 if begin > 0 else zero
    for i in range(count + 1):
        step = positions
        if i < count:
            step = batch.steps[begin + i]
        elif begin + count < steps:
            break
        for place in range(end * features, step * features):
            dx[place] = 0
        end = step + 1


@inlined
def run_products(
    batch: Any,
    wanted: Any,
    items: Any,
    control: Any,
    rows: int,
    thread: int,
    weights: Any,
    memory: Any,
    index: Any,
) -> None:
    """Process work items until none is left; thread 0 waits for those of the others.

    Args:
        batch: see `backward.Batch`.
        wanted: the words of the call, see `words`.
        items: the work items for the gradients of the weights.
        control: the shared counters.
        rows: B.
        thread: this one's number.
        weights: W^T, packed.
        memory: real (memory_size), this thread's.
        index: int64 (INDICES), this thread's.
    """
    steps, of_weights = batch.offsets[rows], wanted[ITEMS]
    all_items = of_weights
    if wanted[DX] != 0:
        all_items += max(-(-steps // DX_ROWS), 1)
    number = atomic_add(control, NEXT_ROW, 1)
    while number < all_items:
        if number < of_weights:
            item = flat_from(items, number * WORDS)
            _weight_gradients(batch, wanted, item, rows, steps, memory, index)
        else:
            first = number - of_weights
            positions = row_start(batch.offsets, batch.time, rows)
            _input_gradient(batch, wanted, first, positions, steps, weights, memory, index)
        atomic_add(control, ROWS_DONE, 1)
        number = atomic_add(control, NEXT_ROW, 1)
    if thread == 0:
        wait_for(control, ROWS_DONE, all_items)


def memory_size(features: int, units: int, blocks: int, lanes: int) -> int:
    """Elements of a thread's memory, for a cell with `blocks` blocks of sums."""
    rows, width = min(features + units + 1, MOST_ROWS), STRIP * lanes
    strips = min(-(-blocks * units // width), MOST_STRIPS)
    panels = -(-strips * STRIP // PANEL)
    return max(
        (rows + lanes) * ROW + BLOCK * width + panels * rows * PANEL * lanes,
        (DX_ROWS + 1) * PANEL * lanes,
    )
