"""The products of a time loop, by ordinary multiply-adds or by tensor cores.

What is multiplied are vectors, one a sequence, in planes that steps use in turn: in shared
memory, or where the blocks of a grid share a layer, in global memory. A plane has the vectors of
`groups` groups of sequences, and `index` counts groups in all planes of a product.

A thread has cells: unit `unit + 8 u` for sequence s of the thread is cell i = u * per + s, where
`per` is 1, or 2 on tensor cores.

Both classes have these device functions; `thread` and `call` are named tuples of the loop:

    who         (tid, block) -> the thread's unit, its first sequence in a group, and which of the
                rows of threads it is in that share inner sums: the first row gets them
    fetch       (thread, call): weights come to registers and shared memory
    multiply    of each product, (thread, call, groups, index): the sums of the thread's cells
    put         of each product, (thread, call, groups, index, place, sequence, value): a number
                goes to its place, beside the thread's first, in a vector
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from ..ops import in_turn, inlined, meet_block
from ..runtime import ptx as ptx
from ..runtime.kernel import WARP, number, uint32
from . import grid, mma, mma_grid, multiplying
from .mma import SEQUENCES, Fragments, number_of, rounded
from .resident import VECTORS, Tile


def planes_size(tiles: Sequence[Any], planes: Sequence[int], together: bool) -> int:
    """Words in the shared memory of a block besides weights.

    Args:
        tiles: of each product.
        planes: how many each product has.
        together: whether they are in global memory.
    """
    tensor = isinstance(tiles[0], Fragments)
    if together:
        return mma_grid.vector_size(tuple(tiles)) if tensor else grid.vector_size(tuple(tiles))
    sizes = (SEQUENCES * t.stride if tensor else VECTORS * t.inner for t in tiles)
    return sum(size * count for size, count in zip(sizes, planes, strict=True))


def products_of(
    tiles: tuple[Any, ...], planes: tuple[int, ...], together: bool, dtype: Any
) -> Products:
    """The products of a loop, by what its tiles are.

    Args:
        tiles: of each product.
        planes: how many each product has.
        together: whether the blocks of a grid share the layer.
        dtype: of all numbers.
    """
    made = MmaProducts if isinstance(tiles[0], Fragments) else FmaProducts
    return made(tiles, planes, together, dtype)


class Products:
    """What both have; arguments as of `products_of`."""

    word: Any  # Numba type of what weights are made of
    item: Any  # of what planes are made of
    sequences: int  # of a group
    per: int  # sequences of a thread
    own = 1  # units of a thread
    fast = False  # whether activations may be off by what rounding costs
    ahead = False  # whether what a step backward reads is read a step ahead
    tight = True  # whether there are few registers
    sums_size: int

    def __init__(
        self, tiles: tuple[Any, ...], planes: tuple[int, ...], together: bool, dtype: Any
    ) -> None:
        self._tiles, self._together, self._dtype = tiles, together, dtype
        self.together, self.threads, self.held = together, tiles[0].threads, [t.held for t in tiles]
        self.vectors = planes_size(tiles, planes, together)
        self._kept = [*accumulate((t.shared_size for t in tiles), initial=self.vectors)]
        self._plane = list(map(self._plane_of, tiles))
        sizes = (size * count for size, count in zip(self._plane, planes, strict=True))
        self._planes = [*accumulate(sizes, initial=0)]
        self._weights = [*accumulate((t.size for t in tiles), initial=0)]
        products = range(len(tiles))
        self.fetch = in_turn([self._fetch(p) for p in products])
        self.multiply = [self._multiply(p) for p in products]
        self.put = [self._put(p) for p in products]

    @property
    def cells(self) -> int:
        """Units times sequences of a thread."""
        return self.own * self.per

    def _plane_of(self, tile: Any) -> int:
        raise NotImplementedError

    def _fetch(self, p: int) -> Any:
        raise NotImplementedError

    def _multiply(self, p: int) -> Any:
        raise NotImplementedError

    def _put(self, p: int) -> Any:
        raise NotImplementedError

    @property
    def who(self) -> Any:
        """See above."""
        raise NotImplementedError

    def sum_at(self, columns: int, column: int, cell: int) -> int:
        """Which sum is that of a column of a product of so many, for a cell."""
        raise NotImplementedError


class FmaProducts(Products):
    """Four sequences at a time, a cell a thread, weights as in `resident`."""

    sequences, per = VECTORS, 1

    def __init__(
        self, tiles: tuple[Tile, ...], planes: tuple[int, ...], together: bool, dtype: Any
    ) -> None:
        self.word = self.item = number(dtype)
        self.sums_size = max(1, *(t.columns * VECTORS for t in tiles))
        super().__init__(tiles, planes, together, dtype)

    def _plane_of(self, tile: Any) -> int:
        return VECTORS * int(tile.inner)

    @property
    def who(self) -> Any:
        """See above."""
        own, row_threads = self._tiles[0].units, self._tiles[0].units * VECTORS

        @inlined
        def who(tid: int, block: int) -> Any:
            unit = block * own + tid % row_threads // VECTORS
            return unit, tid % VECTORS, tid // row_threads

        return who

    def _fetch(self, p: int) -> Any:
        fetch, kept = multiplying.make_fetch(self._tiles[p]), self._kept[p]
        before, size = self._weights[p], self._tiles[p].size

        @inlined
        def run(t: Any, c: Any) -> None:
            start = c.weights_start + t.blocks * before + t.block * size
            fetch(t.held[p], t.words, kept, c.weights, start, t.tid)

        return run

    def _multiply(self, p: int) -> Any:
        tile, together, kept = self._tiles[p], self._together, self._kept[p]
        planes, plane = self._planes[p], self._plane[p]
        multiply = multiplying.make_multiply(tile, self._dtype)
        total = grid.make_total(tile, VECTORS * max(t.inner for t in self._tiles))
        before, size, threads = self._weights[p], tile.size, tile.threads

        @inlined
        def run(t: Any, c: Any, groups: int, index: int) -> None:
            start = c.weights_start + t.blocks * before + t.block * size
            at = planes * groups + index * plane
            if together:
                grid.stage(t.words, c.exchanged, at, plane, t.tid, threads)
                meet_block()
                at = at - at
            multiply(t.sums, t.held[p], t.words, kept, c.weights, start, t.tid, t.words, at)
            if together:
                total(t.sums, t.words, t.tid)

        return run

    def _put(self, p: int) -> Any:
        planes, plane, together = self._planes[p], self._plane[p], self._together
        inner = self._tiles[p].inner

        @inlined
        def put(t: Any, c: Any, groups: int, index: int, place: int, s: int, value: Any) -> None:
            at = planes * groups + index * plane + t.pair * inner + t.unit + place
            if together:
                c.exchanged[at] = value
            else:
                t.items[at] = value

        return put

    def sum_at(self, columns: int, column: int, cell: int) -> int:
        """See `Products`."""
        return column


class MmaProducts(Products):
    """Eight sequences at a time, two cells a thread and band of units, weights as in `mma`."""

    sequences, per, fast, ahead = SEQUENCES, 2, True, True

    def __init__(
        self, tiles: tuple[Fragments, ...], planes: tuple[int, ...], together: bool, dtype: Any
    ) -> None:
        first = tiles[0]
        self.own, self.tight = first.own, any(t.in_shared for t in tiles)
        self.word, self.item = uint32, number_of(first.in_word)
        self.sums_size = max(1, *(4 * t.tiles for t in tiles))
        super().__init__(tiles, planes, together, dtype)

    def _plane_of(self, tile: Any) -> int:
        return mma_grid.group_size(tile) if self._together else SEQUENCES * int(tile.stride)

    @property
    def who(self) -> Any:
        """See above."""
        warps, own = self._tiles[0].warps, 8 * self._tiles[0].own

        @inlined
        def who(tid: int, block: int) -> Any:
            warp, lane = tid // WARP, tid % WARP
            return (block * warps + warp % warps) * own + lane // 4, lane % 4 * 2, warp // warps

        return who

    def _fetch(self, p: int) -> Any:
        fetch, kept, before = mma.make_fetch(self._tiles[p]), self._kept[p], self._weights[p]

        @inlined
        def run(t: Any, c: Any) -> None:
            fetch(t.held[p], t.words, kept, c.weights, c.weights_start + before, t.block, t.tid)

        return run

    def _multiply(self, p: int) -> Any:
        tile, kept, planes, plane = self._tiles[p], self._kept[p], self._planes[p], self._plane[p]
        in_word, lane_items = tile.in_word, 4 * tile.in_word
        row_threads, part_items = tile.warps * WARP, tile.chunks * WARP * lane_items
        total, lane_start = mma_grid.make_total(tile), mma.make_lane_start(tile)
        read = mma_grid.make_read(tile) if self._together else mma.read_shared
        multiply = mma.make_multiply(tile, read)

        @inlined
        def of_block(t: Any, c: Any, groups: int, index: int) -> None:
            at = lane_start(t.tid) + (planes * groups + index * plane)
            multiply(t.sums, t.held[p], t.words, kept, t.tid, t.words, at)

        @inlined
        def of_grid(t: Any, c: Any, groups: int, index: int) -> None:
            at = (planes * groups + index * plane) * in_word
            at += t.tid // row_threads * part_items + t.tid % WARP * lane_items
            multiply(t.sums, t.held[p], t.words, kept, t.tid, c.exchanged, at)
            total(t.sums, t.partial, index % 2, t.tid)

        return of_grid if self._together else of_block

    def _put(self, p: int) -> Any:
        tile, planes, plane = self._tiles[p], self._planes[p], self._plane[p]
        in_word, stride = tile.in_word, tile.stride * tile.in_word
        spot, to_bits = mma_grid.make_place(tile), rounded(in_word)
        store = ptx.store_shared_half if in_word == 2 else ptx.store_shared

        @inlined
        def of_block(
            t: Any, c: Any, groups: int, index: int, place: int, s: int, value: Any
        ) -> None:
            at = (planes * groups + index * plane) * in_word + t.pair * stride + t.unit
            store(ptx.shared_address(t.items, at + (s * stride + place)), to_bits(value))

        @inlined
        def of_grid(
            t: Any, c: Any, groups: int, index: int, place: int, s: int, value: Any
        ) -> None:
            at = (planes * groups + index * plane) * in_word
            c.exchanged[at + spot(place + t.unit, t.pair + s)] = to_bits(value)

        return of_grid if self._together else of_block

    def sum_at(self, columns: int, column: int, cell: int) -> int:
        """See `Products`."""
        return 2 * (cell // 2 * columns + column) + cell % 2
