"""The time loop backward: what has to wait for the step after, and nothing else.

    dh = dy + what later steps send back; gates, overwritten by the gradients of their sums;
    dh of the step before = those gradients times the transposed recurrent kernel

Who multiplies is up to `loop_products`, and what a cell computes to `backward_cells`. Where
one block holds all weights it takes groups of sequences from a queue, the longest first, and runs
all their steps with what it must remember in registers. Else all blocks of a grid run all
groups, each for its own units; what a thread must remember is in memory, and blocks meet after
every round of a step.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ..ops import in_turn, inlined, meet_block
from ..runtime.kernel import Kernel, family, int32, int64, kernel, number, pointer, pointers, uint32
from . import loop_products
from .backward_cells import BackwardCells, Call, Own, Variant
from .emit import Kind
from .grid import meet
from .loop_groups import Thread, make_go_to, make_locate, make_move, next_group_of
from .loop_products import Products, products_of


def planes_of(tiles: tuple[Any, ...]) -> tuple[int, ...]:
    """How many planes each product has: two that steps use in turn."""
    return (2,) * len(tiles)


def planes_size(tiles: tuple[Any, ...], together: bool = False) -> int:
    """Words in the shared memory of a block besides weights."""
    return loop_products.planes_size(tiles, planes_of(tiles), together)


class _Alone:
    """A block runs groups of sequences from a queue, one after the other.

    Device functions of a thread, a call, and
        open            group, k: begin with step k
        step            k
        close           end of the group
    """

    def __init__(self, cells: BackwardCells, products: Products) -> None:
        self._cells, self._products = cells, products
        self._locate, self._go_to = make_locate(products), make_go_to(products)
        self.close = cells.close

    @property
    def open(self) -> Any:
        locate, go_to, ahead = self._locate, self._go_to, self._products.ahead
        begin, read = self._cells.open, self._cells.read

        @inlined
        def run(t: Any, c: Any, group: int, k: int) -> None:
            locate(t, c, group)
            go_to(t, c, k)
            begin(t, c, k)
            if ahead:
                read(t, c, k)

        return run

    @property
    def step(self) -> Any:
        cells, products, move = self._cells, self._products, make_move(self._products)
        read, advance, add, ahead = cells.read, cells.advance, cells.add, products.ahead
        later = zip(products.multiply, cells.rounds[1:], strict=False)
        rounds = in_turn([cells.rounds[0], *(self._later_round(*both) for both in later)])
        multiply = products.multiply[-1]

        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            if not ahead:
                read(t, c, k)
            rounds(t, c, 1, k % 2, k)
            advance(t, c, k)
            move(t, c)
            if ahead:
                read(t, c, k - 1)
            meet_block()
            multiply(t, c, 1, k % 2)
            add(t, c, k)

        return run

    def _later_round(self, multiply: Any, compute: Any) -> Any:
        @inlined
        def run(t: Any, c: Any, groups: int, index: int, k: int) -> None:
            meet_block()
            multiply(t, c, groups, index)
            compute(t, c, groups, index, k)

        return run


class _Together:
    """All blocks of a grid run all groups at once; functions as those of `_Alone`."""

    def __init__(self, cells: BackwardCells, products: Products) -> None:
        self._cells, self._products = cells, products
        self._locate, self._go_to = make_locate(products), make_go_to(products)
        self.close = in_turn([])

    @property
    def open(self) -> Any:
        locate, begin = self._locate, self._cells.open

        @inlined
        def run(t: Any, c: Any, group: int, k: int) -> None:
            while group < c.groups:
                locate(t, c, group)
                begin(t, c, k)
                group += 1

        return run

    @property
    def step(self) -> Any:
        cells, multiply = self._cells, self._products.multiply
        rounds = [(None, cells.loads[0], cells.rounds[0])]
        rounds += zip(multiply, cells.loads[1:], cells.rounds[1:], strict=False)
        stages = [self._stage(*each) for each in rounds]
        meetings = [self._meet] * len(stages)
        pairs = [f for both in zip(stages, meetings, strict=True) for f in both]
        return in_turn([*pairs, self._stage(multiply[-1], None, self._add)])

    @property
    def _add(self) -> Any:
        add = self._cells.add

        @inlined
        def run(t: Any, c: Any, groups: int, index: int, k: int) -> None:
            add(t, c, k)

        return run

    @property
    def _meet(self) -> Any:
        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            t.own.met[0] += t.blocks
            meet(c.counter, t.own.met[0])

        return run

    def _stage(self, multiply: Any, load: Any, compute: Any) -> Any:
        """Device function of (thread, call, k): a part of a step, for one group after the other."""
        nothing, sequences = in_turn([]), self._products.sequences
        locate, go_to = self._locate, self._go_to
        multiply, load = multiply or nothing, load or nothing

        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            for group in range(c.groups):
                b = c.order[group * sequences]
                if c.offsets[b + 1] - c.offsets[b] <= k:
                    break
                index = k % 2 * c.groups + group
                locate(t, c, group)
                go_to(t, c, k)
                load(t, c, k)
                multiply(t, c, c.groups, index)
                compute(t, c, c.groups, index, k)

        return run


@family()
def gradient_loop(kind: Kind, tiles: tuple[Any, ...], dtype: Any, variant: Variant) -> Kernel:
    """The kernel for a cell.

    Args:
        kind: of the cell.
        tiles: of the products that `backward_cells.blocks_of_products` tells of.
        dtype: of its numbers.
        variant: of the loop.
    """
    products = products_of(tiles, planes_of(tiles), variant.together, dtype)
    sequences, per = products.sequences, products.per
    cells = BackwardCells(kind, dtype, products, variant)
    turns = (_Together if variant.together else _Alone)(cells, products)
    open_group, step, close = turns.open, turns.step, turns.close
    next_group = next_group_of(variant.together)
    fetch, fetch_vectors, who = products.fetch, cells.fetch, products.who
    real, word, item = number(dtype), products.word, products.item
    held_size, second_held_size = (max(n, 1) for n in (*products.held, 0)[:2])
    sums_size, values_size = products.sums_size, cells.row * products.cells
    planes, threads = products.vectors, products.threads
    units, together = variant.units, variant.together
    tight, reverse, width = products.tight, variant.reverse, kind.cell.width * variant.units
    zero = dtype.type(0)
    reals, ints, states = pointer(real), pointer(int64), pointers(real, len(kind.cell.states))

    @kernel(
        *(reals, states, reals, states, pointer(word), int64),
        *(pointers(real, len(kind.cell.vectors)), ints, ints, states, states, reals),
        *(pointer(uint32), pointer(item), int64, int64),
        cooperative=together,
        launch_bounds=(threads, 1),
    )
    def run(
        gates: Any,
        dfirst: Any,
        dy: Any,
        steps: Any,
        weights: Any,
        weights_start: int,
        vectors: Any,
        offsets: Any,
        order: Any,
        dlast: Any,
        first: Any,
        extra: Any,
        counter: Any,
        exchanged: Any,
        batch: int,
        backwards: bool,
    ) -> None:
        words = cuda.shared.array(0, word, alignment=16)
        items = cuda.shared.array(0, item, alignment=16)
        partial = cuda.shared.array(0, real, alignment=16)
        ticket = cuda.shared.array(1, int32)
        held = cuda.local.array(held_size, word)
        second_held = cuda.local.array(second_held_size, word)
        sums = cuda.local.array(sums_size, real)
        values = cuda.local.array(values_size, real)
        count, row = cuda.local.array(per, int32), cuda.local.array(per, int64)
        at, to = cuda.local.array(per, int64), cuda.local.array(per, int64)
        state = cuda.local.array(per, int64)
        met = cuda.local.array(1, int64)
        tid = int32(cuda.threadIdx.x)
        block, blocks = int32(0), int32(1)
        if together:
            block, blocks = int32(cuda.blockIdx.x), int32(cuda.gridDim.x)
        unit, pair, part = who(tid, block)
        leads = unit < units
        groups = (batch + (sequences - 1)) // sequences
        if together:
            leads = part == 0 and unit < units
        forth = 1 if reverse else -1  # a constant, so that addresses are an addition away
        if tight:
            forth = 2 * backwards - 1
        t = Thread(
            *(tid, block, blocks, unit, pair, leads, ticket, words, items, partial),
            *((held, second_held), sums, count, row, at, to, state, Own(values, met)),
        )
        c = Call(
            *(dfirst, gates, dy, steps, weights, weights_start, vectors, offsets, order, dlast),
            *(first, extra, counter, exchanged, batch, groups, units, width, backwards, forth),
        )
        met[0] = 0
        for i in range(values_size):
            values[i] = zero
        fetch(t, c)
        fetch_vectors(t, c, 0)
        if not together:
            for i in range(tid, planes, threads):
                words[i] = word(0)
        group = next_group(t, c, -1)
        while group < groups:
            b = order[group * sequences]
            k = int32(offsets[b + 1] - offsets[b] - 1)
            open_group(t, c, group, k)
            while k >= 0:
                step(t, c, k)
                k = int32(k - 1)
            close(t, c, k)
            group = next_group(t, c, group)

    return run
