"""The products of a time loop, by ordinary multiply-adds or by tensor cores.

The weights multiply one vector per sequence. Vectors are in two planes that steps use in turn: in
shared memory or, where the blocks of a grid share a layer, in global memory (see `grid`). A plane
holds the vectors of all groups of sequences that run at once.

A thread has cells: unit `unit + 8 u` for sequence s of the thread is cell i = u * per + s, where
`per` is 1, or 2 on tensor cores.

Both classes have these device functions; `thread` is a `loop_groups.Thread`:

    who         (tid, block) -> the thread's first unit, and its first sequence in a turn
    fetch       (thread): loads weights into registers and shared memory
    multiply    for each product, (thread, which, k): computes the sums of the thread's cells
                from plane `which`, for sequences that have a step k
    put         for each product, (thread, which, place, sequence, value): writes number
                `unit + place` of the vector of one of the thread's sequences
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from ..ops import in_turn, inlined
from ..runtime import ptx as ptx
from ..runtime.kernel import WARP, number, uint32
from . import grid, mma, multiplying
from .mma import SEQUENCES, Fragments, number_of, rounded
from .places import exchanged_size, planes_size, sums_start
from .resident import CHUNK, VECTORS, Tile


def products_of(tiles: tuple[Any, ...], dtype: Any) -> Products:
    """The products of a loop on numbers of `dtype`; the kind of tiles decides the class."""
    return (MmaProducts if isinstance(tiles[0], Fragments) else FmaProducts)(tiles, dtype)


class Products:
    """What both classes share; arguments as in `products_of`."""

    word: Any  # Numba type of the words that weights are made of
    item: Any  # Numba type of the numbers in planes
    in_word = 1  # items in a word
    per: int  # sequences of a thread
    own = 1  # units of a thread
    fast = False  # whether activations may be approximate, as rounding costs more accuracy
    ahead = False  # whether a backward step reads its inputs one step ahead
    tight = True  # whether registers are short
    reads_own = False  # in a grid, whether a lane reads only the numbers that it copied itself
    sums_size: int
    who: Any
    sum_at: Any  # (number of columns, column, cell) -> index of the column's sum for a cell
    # Of product p. `_fetch` loads weights. `_sums` is a pair: (thread, at) computes the sums, or a
    # row's part of them; (tid) -> where a thread's vectors begin in a plane. `_stored` is three:
    # where a number of a vector stands (see `make_place`), its bits, and how to store them.
    _fetch: Any
    _sums: Any
    _stored: Any

    def __init__(self, tiles: tuple[Any, ...], dtype: Any) -> None:
        first, self._tiles, self._dtype = tiles[0], tiles, dtype
        self.blocks, self.together, self.groups = first.blocks, first.blocks > 0, first.groups
        self.sequences, self.threads = first.sequences, first.threads
        self.row_threads = first.row_threads
        self.held, self.vectors = [t.held for t in tiles], planes_size(tiles)
        self._kept = [*accumulate((t.shared_size for t in tiles), initial=self.vectors)]
        self._planes = [*accumulate((2 * t.groups * t.plane for t in tiles), initial=0)]
        self._weights = [*accumulate((t.size for t in tiles), initial=0)]
        products = range(len(tiles))
        clear = [] if self.together else [self._clear]
        self.fetch = in_turn([*(self._fetch(p) for p in products), *clear])
        multiply = self._of_grid if self.together else self._of_block
        self.multiply = [multiply(p) for p in products]
        self.put = [self._put(p) for p in products]

    @property
    def cells(self) -> int:
        """Units times sequences of a thread."""
        return self.own * self.per

    @property
    def _clear(self) -> Any:
        planes, threads, zero = self.vectors, self.threads, self.word(0)

        @inlined
        def run(t: Any) -> None:
            for i in range(t.tid, planes, threads):
                t.words[i] = zero

        return run

    def _of_block(self, p: int) -> Any:
        (multiply, begin), first, plane = self._sums(p), self._planes[p], self._tiles[p].plane

        @inlined
        def run(t: Any, which: int, k: int) -> None:
            multiply(t, begin(t.tid) + (first + which * plane))

        return run

    def _of_grid(self, p: int) -> Any:
        tile, start, slot = self._tiles[p], sums_start(self._tiles), sums_start(self._tiles) // 2
        come, several = grid.make_come(tile, self.reads_own), tile.groups > 1
        stage = grid.make_stage(tile, self._dtype.itemsize, self.in_word)
        leave, total = grid.make_leave(tile, start), grid.make_total(tile, start)
        (multiply, begin), all_planes = self._sums(p), exchanged_size(self._tiles)
        first, plane, groups = self._planes[p], tile.plane, tile.groups
        row_threads, row_slice = tile.row_threads, tile.slice

        @inlined
        def run(t: Any, which: int, k: int) -> None:
            to = t.tid // row_threads * row_slice
            at = t.copy * all_planes + (first + which * (groups * plane) + to)
            mine = to + begin(t.tid)
            stage(t.words, to, t.layer.exchanged, at, t.tid)
            group, more = 0, True
            while more:
                come()
                more = several and t.told[group + 1] > k
                if more:
                    at += plane
                    stage(t.words, to + (group + 1 & 1) * slot, t.layer.exchanged, at, t.tid)
                multiply(t, mine + (group & 1) * slot)
                leave(t.sums, t.partial, group, t.tid)
                group += 1
            total(t.sums, t.partial, t.tid)

        @inlined
        def of_one_group(t: Any, which: int, k: int) -> None:
            at = t.copy * all_planes + (first + which * plane + t.tid // row_threads * row_slice)
            multiply(t, at + begin(t.tid))
            leave(t.sums, t.partial, 0, t.tid)
            total(t.sums, t.partial, t.tid)

        return run if tile.staged else of_one_group

    def _put(self, p: int) -> Any:
        tile, first, in_word = self._tiles[p], self._planes[p], self.in_word
        (place_of, to_bits, store), all_planes = self._stored(p), exchanged_size(self._tiles)
        planes, together = tile.groups * tile.plane, self.together

        @inlined
        def put(t: Any, which: int, place: int, s: int, value: Any) -> None:
            at = (t.copy * all_planes + (first + which * planes)) * in_word
            at += place_of(t.unit, t.pair, place, s)
            if together:
                t.layer.exchanged[at] = to_bits(value)
            else:
                store(t.items, at, to_bits(value))

        return put


class FmaProducts(Products):
    """Four sequences at a time, one cell per thread, weights laid out as in `resident`."""

    per = 1

    def __init__(self, tiles: tuple[Tile, ...], dtype: Any) -> None:
        self.word = self.item = number(dtype)
        self.sums_size = max(1, *(t.columns * VECTORS for t in tiles))
        super().__init__(tiles, dtype)
        self.ahead = self.together

    @property
    def who(self) -> Any:
        """See above."""
        own, row_threads = self._tiles[0].units, self._tiles[0].row_threads

        @inlined
        def of_block(tid: int, block: int) -> Any:
            return tid // VECTORS, tid % VECTORS

        @inlined
        def of_grid(tid: int, block: int) -> Any:
            unit = block * own + tid % row_threads // VECTORS
            return unit, tid // row_threads * VECTORS + tid % VECTORS

        return of_grid if self.together else of_block

    def _weights_of(self, p: int) -> Any:
        """Device function: where the weights of a product for the thread's block begin."""
        before = self._weights[p]
        size = self._tiles[p].size // max(self.blocks, 1)

        @inlined
        def start(t: Any) -> Any:
            return t.layer.weights_start + (before + t.block * size)

        return start

    def _fetch(self, p: int) -> Any:
        fetch, kept = multiplying.make_fetch(self._tiles[p]), self._kept[p]
        start = self._weights_of(p)

        @inlined
        def run(t: Any) -> None:
            fetch(t.held[p], t.words, kept, t.layer.weights, start(t), t.tid)

        return run

    def _sums(self, p: int) -> Any:
        tile, kept, start = self._tiles[p], self._kept[p], self._weights_of(p)
        multiply, lanes = multiplying.make_multiply(tile, self._dtype), tile.lanes

        @inlined
        def run(t: Any, at: int) -> None:
            held, weights = t.held[p], t.layer.weights
            multiply(t.sums, held, t.words, kept, weights, start(t), t.tid, t.words, at)

        @inlined
        def begin(tid: int) -> Any:
            return (tid & (lanes - 1)) * CHUNK

        return run, begin

    def _stored(self, p: int) -> Any:
        @inlined
        def as_it_is(value: Any) -> Any:
            return value

        @inlined
        def store(items: Any, at: int, value: Any) -> None:
            items[at] = value

        return multiplying.make_place(self._tiles[p]), as_it_is, store

    def sum_at(self, columns: int, column: int, cell: int) -> int:
        """See `Products`."""
        return column


class MmaProducts(Products):
    """Eight sequences at a time, two cells per thread and 8 units, weights laid out as in `mma`."""

    per, fast, ahead, reads_own = 2, True, True, True

    def __init__(self, tiles: tuple[Fragments, ...], dtype: Any) -> None:
        first = tiles[0]
        self.own, self.tight = first.own, any(t.in_shared for t in tiles)
        self.word, self.item, self.in_word = uint32, number_of(first.in_word), first.in_word
        self.sums_size = max(1, *(4 * t.tiles for t in tiles))
        super().__init__(tiles, dtype)

    @property
    def who(self) -> Any:
        """See above."""
        warps, own = self._tiles[0].warps, 8 * self._tiles[0].own

        @inlined
        def who(tid: int, block: int) -> Any:
            warp, lane = tid // WARP, tid % WARP
            unit = (block * warps + warp % warps) * own + lane // 4
            return unit, warp // warps * SEQUENCES + lane % 4 * 2

        return who

    def _fetch(self, p: int) -> Any:
        fetch, kept, before = mma.make_fetch(self._tiles[p]), self._kept[p], self._weights[p]

        @inlined
        def run(t: Any) -> None:
            start = t.layer.weights_start + before
            fetch(t.held[p], t.words, kept, t.layer.weights, start, t.block, t.tid)

        return run

    def _sums(self, p: int) -> Any:
        tile, kept = self._tiles[p], self._kept[p]
        read = mma.read_words if self.together else mma.read_shared
        multiply = mma.make_multiply(tile, read if tile.staged else mma.make_read_far(tile))

        @inlined
        def run(t: Any, at: int) -> None:
            multiply(t.sums, t.held[p], t.words, kept, t.tid, t.words, at)

        @inlined
        def run_far(t: Any, at: int) -> None:
            multiply(t.sums, t.held[p], t.words, kept, t.tid, t.layer.exchanged, at)

        return run if tile.staged else run_far, mma.make_lane_start(tile)

    def _stored(self, p: int) -> Any:
        write = ptx.store_shared_half if self.in_word == 2 else ptx.store_shared

        @inlined
        def store(items: Any, at: int, value: Any) -> None:
            write(ptx.shared_address(items, at), value)

        return mma.make_place(self._tiles[p]), rounded(self.in_word), store

    def sum_at(self, columns: int, column: int, cell: int) -> int:
        """See `Products`."""
        return 2 * (cell // 2 * columns + column) + cell % 2
