"""The time loop: states from step to step, for any cell.

It knows nothing of masks: row p of every packed array belongs to the p-th valid step, the rows of
a sequence stand one after the other, and `reverse` only takes them from the last to the first.

    z            (P, stride)  x W + b at the valid steps; where gates are saved they replace it
    rows of h    (P, stride)  h after the step, perhaps in the first columns of z itself: a thread
                              writes only columns of units whose z nobody else reads
    other rows   (P, H)       the other states

Who multiplies is up to `loop_products`, and what a cell computes to `forward_cells`. Where one
block holds all weights it takes groups of sequences from a queue, the longest first, and runs all
their steps; it keeps states in registers and reads rows of z one step ahead. Else all blocks of a
grid go through all groups at each step, each for its own units, keep states where the caller wants
them at the end, and meet after every product.

States stand in two planes, read from one and written to the other, so that one barrier a step is
enough; a cell that calls a sum on a value has a third plane and another barrier. A sequence that
has ended computes on, on numbers of its own that nobody reads: no branch parts the warp.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ..ops import in_turn, inlined, meet_block
from ..runtime.kernel import Kernel, family, int32, int64, kernel, number, pointer, pointers, uint32
from . import loop_products
from .columns import row_blocks
from .emit import Kind
from .forward_cells import Call, Cells, Own, Saves
from .grid import meet
from .loop_groups import Thread, make_go_to, make_locate, make_move, next_group_of
from .loop_products import Products, products_of
from .mma import Fragments


def planes_of(tiles: tuple[Any, ...]) -> tuple[int, ...]:
    """How many planes each product has: two that steps use in turn, one between two rounds."""
    return tuple(1 if p else 2 for p in range(len(tiles)))


def planes_size(tiles: tuple[Any, ...], together: bool = False) -> int:
    """Words in the shared memory of a block besides weights."""
    return loop_products.planes_size(tiles, planes_of(tiles), together)


class _Alone:
    """A block takes groups of sequences from a queue, one after the other.

    Device functions of a thread, a call, and
        open        group: the states before the first step
        step        k
        close       the states after the last step
    """

    def __init__(self, cells: Cells, products: Products) -> None:
        self._cells, self._products = cells, products
        self._move = make_move(products)
        self._locate, self._go_to = make_locate(products), make_go_to(products)

    @property
    def open(self) -> Any:
        locate, go_to, cells = self._locate, self._go_to, self._cells
        take, read, put = cells.take, cells.read, cells.put(0)

        @inlined
        def run(t: Any, c: Any, group: int) -> None:
            locate(t, c, group)
            take(t, c, c.first)
            go_to(t, c, int32(0))
            read(t, c, int32(0))
            put(t, c, 1, 0, int32(-1))
            meet_block()

        return run

    @property
    def step(self) -> Any:
        last = len(self._products.multiply) - 1
        rounds = [self._call(p) for p in range(last)]
        return in_turn([*rounds, self._finish(last)])

    def _call(self, p: int) -> Any:
        multiply, compute = self._products.multiply[p], self._cells.rounds[p]
        put = self._cells.put(p + 1)

        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            multiply(t, c, 1, int32(0 if p else k & 1))
            compute(t, c, k)
            put(t, c, 1, 0, k)
            meet_block()

        return run

    def _finish(self, p: int) -> Any:
        multiply, compute, move = self._products.multiply[p], self._cells.rounds[p], self._move
        read, put = self._cells.read, self._cells.put(0)

        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            multiply(t, c, 1, int32(0 if p else k & 1))
            compute(t, c, k)
            move(t, c)
            read(t, c, int32(k + 1))
            put(t, c, 1, int32(1 - (k & 1)), k)
            meet_block()

        return run

    @property
    def close(self) -> Any:
        locate, give = self._locate, self._cells.give

        @inlined
        def run(t: Any, c: Any) -> None:
            locate(t, c, t.ticket[0])
            give(t, c, int32(-1))

        return run


class _Together:
    """All blocks of a grid run all groups at once; functions as those of `_Alone`."""

    def __init__(self, cells: Cells, products: Products) -> None:
        self._cells, self._products = cells, products
        self._locate, self._go_to = make_locate(products), make_go_to(products)
        self.close = in_turn([])

    @property
    def open(self) -> Any:
        locate, cells = self._locate, self._cells
        take, give, put = cells.take, cells.give, cells.put(0)

        @inlined
        def run(t: Any, c: Any, group: int) -> None:
            while group < c.groups:
                locate(t, c, group)
                take(t, c, c.first)
                give(t, c, int32(-1))
                put(t, c, c.groups, group, int32(-1))
                group += 1
            meet(c.counter, t.blocks)

        return run

    @property
    def step(self) -> Any:
        return in_turn([self._round(p) for p in range(len(self._products.multiply))])

    def _round(self, p: int) -> Any:
        """A product, what follows it, for one group after the other, and then all meet."""
        cells, products = self._cells, self._products
        count, sequences = len(products.multiply), products.sequences
        locate, go_to, take, give = self._locate, self._go_to, cells.take, cells.give
        read, multiply, compute = cells.read, products.multiply[p], cells.rounds[p]
        is_last = p == count - 1
        put = cells.put(0 if is_last else p + 1)

        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            turn, group = k & 1, c.groups - c.groups
            source = 0 if p else turn * c.groups
            target = (1 - turn) * c.groups if is_last else 0
            while group < c.groups:
                b = c.order[group * sequences]
                if c.offsets[b + 1] - c.offsets[b] <= k:
                    break
                locate(t, c, group)
                go_to(t, c, k)
                take(t, c, c.last)
                read(t, c, k)
                multiply(t, c, c.groups, source + group)
                compute(t, c, k)
                put(t, c, c.groups, target + group, k)
                if is_last:
                    give(t, c, k)
                group += 1
            meet(c.counter, (k * count + (p + 2)) * t.blocks)

        return run


@family()
def time_loop(
    kind: Kind, tiles: tuple[Any, ...], dtype: Any, saves: Saves, together: bool, reverse: Any
) -> Kernel:
    """The kernel for a cell.

    Args:
        kind: the cell.
        tiles: of its products.
        dtype: of its numbers.
        saves: what is written at each step.
        together: whether a grid shares the layer.
        reverse: the direction, where it is known when compiling: on tensor cores; else None.
    """
    products = products_of(tiles, planes_of(tiles), together, dtype)
    fixed = tiles[0].units if isinstance(tiles[0], Fragments) else 0  # H, where it is known
    cells = Cells(kind, dtype.type, products, saves, fixed)
    turns = (_Together if together else _Alone)(cells, products)
    open_group, step, close = turns.open, turns.step, turns.close
    next_group = next_group_of(together)
    who, fetch, fetch_given = products.who, products.fetch, cells.fetch
    real, word, item = number(dtype), products.word, products.item
    held_size, second_held_size = (max(n, 1) for n in (*products.held, 0)[:2])
    sums_size, zs_size, many = products.sums_size, cells.zs_size, products.cells
    states_size, given_size = len(kind.cell.states) * many, max(cells.given_size, 1)
    per, sequences, threads = products.per, products.sequences, products.threads
    planes, tight, zero = products.vectors, products.tight, dtype.type(0)
    fixed_width = row_blocks(kind.cell, saves.gates) * fixed
    reals, ints, states = pointer(real), pointer(int64), pointers(real, len(kind.cell.states))

    @kernel(
        *(reals, int64, states, pointer(word), int64, reals, int64, ints, ints, states, states),
        *(pointer(uint32), pointer(item), int64, int64, int64),
        cooperative=together,
        launch_bounds=(threads, 1),
    )
    def run(
        z: Any,
        z_stride: int,
        steps: Any,
        weights: Any,
        weights_start: int,
        bias: Any,
        bias_start: int,
        offsets: Any,
        order: Any,
        first: Any,
        last: Any,
        counter: Any,
        exchanged: Any,
        batch: int,
        all_units: int,
        backwards: int,
    ) -> None:
        words = cuda.shared.array(0, word, alignment=16)
        items = cuda.shared.array(0, item, alignment=16)
        partial = cuda.shared.array(0, real, alignment=16)
        ticket = cuda.shared.array(1, int32)
        held = cuda.local.array(held_size, word), cuda.local.array(second_held_size, word)
        sums, zs = cuda.local.array(sums_size, real), cuda.local.array(zs_size, real)
        now, given = cuda.local.array(states_size, real), cuda.local.array(given_size, real)
        operand, count = cuda.local.array(many, real), cuda.local.array(per, int32)
        row, at = cuda.local.array(per, int64), cuda.local.array(per, int64)
        to, state = cuda.local.array(per, int64), cuda.local.array(per, int64)
        units, width, reversed_ = all_units, z_stride, backwards
        # A step that is constant gives every pointer registers of its own, for an addition a step;
        # where they are short addresses are computed from the row.
        forth = 1 - 2 * backwards
        if fixed:
            units, width, reversed_ = fixed, fixed_width, reverse
            if not tight:
                forth = -1 if reverse else 1
        tid, block, blocks = int32(cuda.threadIdx.x), int32(0), int32(1)
        if together:
            block, blocks = int32(cuda.blockIdx.x), int32(cuda.gridDim.x)
        groups = (batch + (sequences - 1)) // sequences
        unit, pair, part = who(tid, block)
        leads = unit < units
        if together:
            leads = part == 0 and unit < units
        t = Thread(
            *(tid, block, blocks, unit, pair, leads, ticket, words, items, partial, held),
            *(sums, count, row, at, to, state, Own(zs, now, operand, given)),
        )
        c = Call(
            *(z, steps, weights, weights_start, bias, bias_start, offsets, order, first, last),
            *(counter, exchanged, batch, groups, units, width, reversed_, forth),
        )
        fetch(t, c)
        fetch_given(t, c)
        if not together:
            for i in range(tid, planes, threads):
                words[i] = word(0)
        group = next_group(t, c, -1)
        while group < groups:
            b = order[group * sequences]
            longest = int32(offsets[b + 1] - offsets[b])
            for i in range(zs_size):
                zs[i] = zero
            open_group(t, c, group)
            k = int32(0)
            while k < longest:
                step(t, c, k)
                k = int32(k + 1)
            close(t, c)
            group = next_group(t, c, group)

    return run
