"""The products of a step backward, by ordinary multiply-adds or by tensor cores.

What is multiplied are vectors of gradients, in two planes for each product that steps use in
turn: in shared memory, or where the blocks of a grid share a layer, in global memory. A plane
has the vectors of `groups` groups of sequences, and `index` counts groups in both planes.

Both classes have these device functions:

    who         (tid, block) -> the thread's unit, its first sequence in a group, and which of the
                rows of threads it is in that share inner sums: the first row gets them
    fetch       (thread, call): weights come to registers and shared memory
    multiply    of each product, (thread, call, groups, index): the sums of the thread's cells
    put         of each product, (thread, call, groups, index, place, sequence, value): a number
                goes to its place, beside the thread's first, in a vector
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from ..ops import in_turn, inlined, meet_block
from ..runtime import ptx as ptx
from ..runtime.kernel import WARP, number, uint32
from . import grid, mma, mma_grid, multiplying
from .backward_cells import Walk
from .mma import SEQUENCES, Fragments, number_of, rounded
from .resident import VECTORS, Tile


def _starts(sizes: list[int]) -> list[int]:
    """Where each of some things begins that stand one after the other."""
    return [0, *accumulate(sizes)]


def planes_size(tiles: tuple[Any, ...], together: bool) -> int:
    """Words in the shared memory of a block besides weights."""
    of_tensor_cores = isinstance(tiles[0], Fragments)
    return (MmaProducts if of_tensor_cores else FmaProducts).size(tiles, together)


class FmaProducts:
    """Four sequences at a time, a cell a thread, weights as in `resident`.

    Args:
        tiles: of each product.
        walk: where vectors are.
        dtype: of all numbers.
    """

    sequences, cells, sums_size = VECTORS, 1, 16
    ahead = False  # whether values of a step are read a step ahead
    tight = True  # whether there are few registers

    def __init__(self, tiles: tuple[Tile, ...], walk: Walk, dtype: Any) -> None:
        self._tiles, self._walk, self._dtype = tiles, walk, dtype
        self.threads, self.held = tiles[0].threads, [t.held for t in tiles]
        self.word = self.item = number(dtype)
        self.vectors = self.size(tiles, walk.together)
        self._kept = _starts([self.vectors, *(t.shared_size for t in tiles)])[1:]
        self._planes = _starts([2 * VECTORS * t.inner for t in tiles])
        self._weights = _starts([t.size for t in tiles])
        products = range(len(tiles))
        self.fetch = in_turn([self._fetch(p) for p in products])
        self.multiply = [self._multiply(p) for p in products]
        self.put = [self._put(p) for p in products]

    @staticmethod
    def block_size(tiles: tuple[Tile, ...]) -> int:
        """Numbers in shared memory besides weights, of a block alone."""
        return 2 * VECTORS * sum(t.inner for t in tiles)

    @classmethod
    def size(cls, tiles: tuple[Tile, ...], together: bool) -> int:
        """The same of a block alone or of a grid."""
        return grid.vector_size(tiles) if together else cls.block_size(tiles)

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
        tile, together, kept, planes = (
            self._tiles[p],
            self._walk.together,
            self._kept[p],
            self._planes[p],
        )
        multiply = multiplying.make_multiply(tile, self._dtype)
        total = grid.make_total(tile, VECTORS * max(t.inner for t in self._tiles))
        before, size, threads = self._weights[p], tile.size, tile.threads
        plane = VECTORS * tile.inner

        @inlined
        def run(t: Any, c: Any, groups: int, index: int) -> None:
            start, at = (
                c.weights_start + t.blocks * before + t.block * size,
                planes * groups + index * plane,
            )
            if together:
                grid.stage(t.words, c.exchanged, at, plane, t.tid, threads)
                meet_block()
                at = at - at
            multiply(t.sums, t.held[p], t.words, kept, c.weights, start, t.tid, t.words, at)
            if together:
                total(t.sums, t.words, t.tid)

        return run

    def _put(self, p: int) -> Any:
        planes, inner, together = self._planes[p], self._tiles[p].inner, self._walk.together
        plane = VECTORS * inner

        @inlined
        def put(t: Any, c: Any, groups: int, index: int, place: int, s: int, value: Any) -> None:
            at = planes * groups + index * plane + t.pair * inner + t.unit + place
            if together:
                c.exchanged[at] = value
            else:
                t.items[at] = value

        return put


class MmaProducts:
    """Eight sequences at a time, two cells a thread and octet of units, weights as in `mma`.

    Args:
        tiles: of each product.
        walk: where vectors are.
        dtype: float32.
    """

    sequences, ahead = SEQUENCES, True

    def __init__(self, tiles: tuple[Fragments, ...], walk: Walk, dtype: Any) -> None:
        self._tiles, self._walk = tiles, walk
        first = tiles[0]
        self.threads, self.held, self.cells = first.threads, [t.held for t in tiles], first.cells
        self.word, self.item, self.sums_size = uint32, number_of(first.in_word), 4 * first.tiles
        self.vectors = self.size(tiles, walk.together)
        self.tight = any(t.in_shared for t in tiles)
        self._kept = _starts([self.vectors, *(t.shared_size for t in tiles)])[1:]
        self._plane = [
            mma_grid.group_size(t) if walk.together else SEQUENCES * t.stride for t in tiles
        ]
        self._planes = _starts([2 * plane for plane in self._plane])
        self._weights = _starts([t.size for t in tiles])
        products = range(len(tiles))
        self.fetch = in_turn([self._fetch(p) for p in products])
        self.multiply = [self._multiply(p) for p in products]
        self.put = [self._put(p) for p in products]

    @staticmethod
    def block_size(tiles: tuple[Fragments, ...]) -> int:
        """Words in shared memory besides weights, of a block alone."""
        return 2 * SEQUENCES * sum(t.stride for t in tiles)

    @classmethod
    def size(cls, tiles: tuple[Fragments, ...], together: bool) -> int:
        """The same of a block alone or of a grid."""
        return mma_grid.vector_size(tiles) if together else cls.block_size(tiles)

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
        read = mma_grid.make_read(tile) if self._walk.together else mma.read_shared
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

        return of_grid if self._walk.together else of_block

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

        return of_grid if self._walk.together else of_block
