"""Who multiplies in a forward time loop, and how all threads get at all states.

Products are done by multiply-adds of four sequences (see `resident`), or by tensor cores, of
eight (see `mma`). The states of all units, and what sums are called on, stand in planes:

    a block alone     planes are in shared memory; its threads meet at a barrier of the block
    a grid together   planes are in global memory, with a part for each group of sequences; blocks
                      meet as `grid` says, and rows of teams share the inner sum
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..ops import inlined, meet_block
from ..runtime.kernel import WARP, number, uint32
from . import grid, mma, mma_grid
from .mma import SEQUENCES, Fragments
from .multiplying import make_fetch, make_multiply
from .resident import VECTORS, Tile


class Memory(NamedTuple):
    """Where a block's weights and planes are."""

    words: Any  # shared memory, as what weights are made of
    items: Any  # the same, as what planes are made of
    reals: Any  # the same, as sums
    exchanged: Any  # planes in global memory
    held: Any  # registers with weights, for each product
    weights: Any
    weights_start: Any


class Spot(NamedTuple):
    """Which cells a thread has."""

    tid: Any
    block: Any
    blocks: Any
    unit: Any  # the first one
    vector: Any  # the first one, in its group
    leads: Any  # whether it has any
    place: Any  # of the first cell in a plane
    start: Any  # where the thread begins to read in a plane


@dataclass(frozen=True)
class Products:
    """What a time loop is built from.

    Attributes:
        together: a grid shares the layer.
        fast: activations may be off by what rounding h costs.
        sequences: of a group.
        per: sequences of a thread.
        own: units of a thread, 8 apart.
        threads: of a block.
        units: H where it is known when compiling, else 0.
        whole: no thread has only some of its units.
        word: type of a weight, and of words of shared memory.
        item: type of what planes consist of.
        planes: words of shared memory besides weights.
        group: length of a group's plane.
        held: a thread's weights in registers, of each product.
        sums: a thread's sums, at most.
        zero: a state of nothing.
        in_shared: whether some weights are in shared memory.
        spot: device function of (tid, block, blocks): the `Spot`.
        fetch: device functions: weights to their places, of each product.
        multiply: device functions of (sums, memory, spot, at, turn): a thread's sums.
        put: device function: a thread's numbers, one a cell, to a plane.
        sum_at: from the columns of a product, a column and a cell: which sum.
    """

    together: bool
    fast: bool
    sequences: int
    per: int
    own: int
    threads: int
    units: int
    whole: bool
    word: Any
    item: Any
    planes: int
    group: int
    held: tuple[int, ...]
    sums: int
    zero: Any
    in_shared: bool
    spot: Any
    fetch: tuple[Any, ...]
    multiply: tuple[Any, ...]
    put: Any
    sum_at: Callable[[int, int, int], int]

    @property
    def cells(self) -> int:
        """Units times sequences of a thread."""
        return self.own * self.per


def products_of(tiles: tuple[Any, ...], dtype: Any, together: bool) -> Products:
    """What a time loop is built from, by where its weights are."""
    make = _tensor_products if isinstance(tiles[0], Fragments) else _scalar_products
    return make(tiles, dtype, together)


def vector_size(tiles: tuple[Tile, ...]) -> int:
    """Numbers in the shared memory of a block alone: two planes of h, one for another product."""
    return (1 + len(tiles)) * VECTORS * tiles[0].inner


def fragment_vector_size(tiles: tuple[Fragments, ...]) -> int:
    """The same in words, on tensor cores."""
    return (1 + len(tiles)) * SEQUENCES * tiles[0].stride


def planes_size(tiles: tuple[Any, ...], together: bool) -> int:
    """Words in the shared memory of a block besides weights."""
    if isinstance(tiles[0], Fragments):
        return (mma_grid.vector_size if together else fragment_vector_size)(tiles)
    return (grid.vector_size if together else vector_size)(tiles)


def _scalar_products(tiles: tuple[Tile, ...], dtype: Any, together: bool) -> Products:
    first, real = tiles[0], number(dtype)
    planes = planes_size(tiles, together)
    kept = [planes + sum(t.shared_size for t in tiles[:n]) for n in range(len(tiles))]
    sums_start = VECTORS * max(t.inner for t in tiles)
    own, row_threads, inner = first.units, first.units * VECTORS, first.inner

    @inlined
    def spot(tid: int, block: int, blocks: int) -> Spot:
        unit, vector = block * own + tid % row_threads // VECTORS, tid % VECTORS
        place = vector * inner + unit
        return Spot(tid, block, blocks, unit, vector, tid < row_threads, place, 0)

    @inlined
    def put(m: Any, spot: Any, at: int, numbers: Any, k: int, count: Any) -> None:
        if together:
            if k < count[0]:
                m.exchanged[at + spot.place] = numbers[0]
        else:
            m.words[at + spot.place] = numbers[0]

    fetch, multiply = zip(
        *(
            _scalar_product(tiles, n, kept[n], sums_start, dtype, together)
            for n in range(len(tiles))
        )
    )
    return Products(
        together=together,
        fast=False,
        sequences=VECTORS,
        per=1,
        own=1,
        threads=first.threads,
        units=0,
        whole=True,
        word=real,
        item=real,
        planes=planes,
        group=VECTORS * inner,
        held=tuple(t.held for t in tiles),
        sums=max(t.columns for t in tiles) * VECTORS,
        zero=dtype.type(0),
        in_shared=True,
        spot=spot,
        fetch=fetch,
        multiply=multiply,
        put=put,
        sum_at=lambda columns, column, cell: column,
    )


def _scalar_product(
    tiles: tuple[Tile, ...], n: int, kept: int, sums_start: int, dtype: Any, together: bool
) -> tuple[Any, Any]:
    """The device functions fetch and multiply of a product."""
    t = tiles[n]
    before, size, vectors, threads = sum(o.size for o in tiles[:n]), t.size, 4 * t.inner, t.threads
    fetch_all, multiply_all, total = (
        make_fetch(t),
        make_multiply(t, dtype),
        grid.make_total(t, sums_start),
    )

    @inlined
    def start(m: Any, spot: Any) -> Any:
        return m.weights_start + spot.blocks * before + spot.block * size

    @inlined
    def fetch(m: Any, spot: Any) -> None:
        fetch_all(m.held[n], m.words, kept, m.weights, start(m, spot), spot.tid)

    @inlined
    def multiply(sums: Any, m: Any, spot: Any, at: int, turn: int) -> None:
        if together:
            grid.stage(m.words, m.exchanged, at, vectors, spot.tid, threads)
            meet_block()
            at = 0
        multiply_all(
            *(sums, m.held[n], m.words, kept, m.weights, start(m, spot), spot.tid, m.words, at)
        )
        if together:
            total(sums, m.words, spot.tid)

    return fetch, multiply


def _tensor_products(tiles: tuple[Fragments, ...], dtype: Any, together: bool) -> Products:
    first = tiles[0]
    own, warps, teams, in_word = first.own, first.warps, first.teams, first.in_word
    planes = planes_size(tiles, together)
    kept = [planes + sum(t.shared_size for t in tiles[:n]) for n in range(len(tiles))]
    fetch, multiply = zip(
        *(_tensor_product(tiles, n, kept[n], together) for n in range(len(tiles)))
    )
    lane_start, place_of = mma.make_lane_start(first), mma_grid.make_place(first)
    stride, part_items = first.stride * in_word, first.chunks * WARP * 4 * in_word
    put_all, to_bits = mma.make_put(first), mma.rounded(in_word)

    @inlined
    def spot(tid: int, block: int, blocks: int) -> Spot:
        lane = tid % WARP
        team, vector = tid // WARP, lane % 4 * 2
        if together:
            team = block * warps + team % warps
        unit = team * (8 * own) + lane // 4
        if together:
            part = tid // (warps * WARP)
            start = part * part_items + lane * (4 * in_word)
            leads = part == 0 and team < teams
            return Spot(tid, block, blocks, unit, vector, leads, place_of(unit, vector), start)
        return Spot(tid, block, blocks, unit, vector, True, vector * stride + unit, lane_start(tid))

    @inlined
    def put(m: Any, spot: Any, at: int, numbers: Any, k: int, count: Any) -> None:
        if together:
            for s in range(2):
                if k < count[s]:
                    m.exchanged[at + (spot.place + 16 * in_word * s)] = to_bits(numbers[s])
        else:
            put_all(m.items, at * in_word + spot.place, numbers)

    return Products(
        together=together,
        fast=True,
        sequences=SEQUENCES,
        per=2,
        own=own,
        threads=first.threads,
        units=first.units,
        whole=first.units % (8 * own) == 0,
        word=uint32,
        item=mma.number_of(in_word),
        planes=planes,
        group=mma_grid.group_size(first) * in_word if together else SEQUENCES * first.stride,
        held=tuple(t.held for t in tiles),
        sums=4 * max(t.tiles for t in tiles),
        zero=dtype.type(0),
        in_shared=any(t.in_shared for t in tiles),
        spot=spot,
        fetch=fetch,
        multiply=multiply,
        put=put,
        sum_at=lambda columns, column, cell: 2 * (cell // 2 * columns + column) + cell % 2,
    )


def _tensor_product(
    tiles: tuple[Fragments, ...], n: int, kept: int, together: bool
) -> tuple[Any, Any]:
    """The device functions fetch and multiply of a product."""
    t = tiles[n]
    before = sum(o.size for o in tiles[:n])
    fetch_all, total = mma.make_fetch(t), mma_grid.make_total(t)
    multiply_all = mma.make_multiply(t, mma_grid.make_read(t) if together else mma.read_shared)

    @inlined
    def fetch(m: Any, spot: Any) -> None:
        start = m.weights_start + before
        fetch_all(m.held[n], m.words, kept, m.weights, start, spot.block, spot.tid)

    @inlined
    def multiply(sums: Any, m: Any, spot: Any, at: int, turn: int) -> None:
        if together:
            multiply_all(sums, m.held[n], m.words, kept, spot.tid, m.exchanged, at + spot.start)
            total(sums, m.reals, turn, spot.tid)
        else:
            multiply_all(sums, m.held[n], m.words, kept, spot.tid, m.words, spot.start + at)

    return fetch, multiply
