"""A matrix that a block keeps close while it multiplies many vectors with it, four at a time.

    sums[column, n] = sum over i of matrix[i, column] * vector[n, i]        n = 0..3

Threads. Neighbours of a team of `lanes` threads share the inner sum of the same `columns`
columns: thread `lane` of a team takes every `lanes`-th chunk of four. `split` rows of teams share
it once more. A tuple of 16 bytes of a vector then serves 4 * columns multiply-adds, so that
shared memory keeps pace with arithmetic.

    forward    team of 4, columns = the gates of one unit
    backward   team of 16, columns = 4 units

Either way thread t ends with the sums of unit t // 4 and of vector t % 4, after an exchange in
which each thread sends half of what it has and keeps the other half.

Places. The chunks of a thread's own weights stand in its registers, then in shared memory, then
in global memory (which the L2 cache serves), as far as each reaches; all in the order

    [chunk][column][thread][4]

in which neighbouring threads read neighbouring 16 bytes. Rows and columns that fill up chunks
and teams have zero weights; vectors must be finite there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from numba import cuda

from ._device import SIMULATED
from ._kernel import family, int64, kernel, number, pointer, span
from .ops import fma, inlined, load4, shuffle_xor

CHUNK = 4  # numbers read at once
VECTORS = 4  # sequences of a group
REGISTERS = 65536  # of a multiprocessor, 4 bytes each
MOST_REGISTERS = 255  # of a thread
OWN_REGISTERS = 64  # what a thread can do with besides weights, in float32
MOST_SPLIT = 8  # rows of teams of a block that shares a layer
SHARED_BYTES = 160 * 1024  # fits the 163 KiB of compute capability 8.0


@cache
def multiprocessors() -> int:
    """Of the current device."""
    return 2 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


class Tile(NamedTuple):
    """How a matrix lies in a block."""

    columns: int  # of a thread
    lanes: int  # threads of a team, 4 or 16
    units: int  # of the block, a multiple of 8
    split: int  # rows of teams
    chunks: int  # of a thread
    in_registers: int
    in_shared: int

    @property
    def threads(self) -> int:
        """Threads of the block."""
        return self.split * self.units * VECTORS

    @property
    def inner(self) -> int:
        """Numbers of a vector, with what fills up its last chunks."""
        return self.chunks * self.split * self.lanes * CHUNK

    @property
    def chunk_size(self) -> int:
        """Weights of one chunk of all threads."""
        return self.columns * self.threads * CHUNK

    @property
    def size(self) -> int:
        """Weights of the block."""
        return self.chunks * self.chunk_size

    @property
    def shared_size(self) -> int:
        """Weights in shared memory."""
        return self.in_shared * self.chunk_size

    @property
    def held(self) -> int:
        """Weights in a thread's registers."""
        return self.in_registers * self.columns * CHUNK

    @property
    def resident(self) -> bool:
        """Whether no weights are left in global memory."""
        return self.in_registers + self.in_shared == self.chunks


def tile(columns: int, lanes: int, inner: int, units: int, split: int = 1) -> Tile:
    """A tile with nothing in registers or shared memory yet."""
    chunks = -(-inner // (split * lanes * CHUNK))
    return Tile(columns, lanes, -(-units // 8) * 8, split, chunks, 0, 0)


def settle(tiles: tuple[Tile, ...], itemsize: int, vectors: int) -> tuple[Tile, ...]:
    """The same tiles with their chunks in the best places.

    Args:
        tiles: all of one block.
        itemsize: of a weight.
        vectors: numbers in shared memory besides weights.
    """
    words = itemsize // 4
    of_thread = min(MOST_REGISTERS, REGISTERS // tiles[0].threads)
    # Wider numbers, and a second round, take registers of their own.
    registers = of_thread - OWN_REGISTERS - (words - 1) * 32 - (len(tiles) - 1) * 16
    shared = SHARED_BYTES // itemsize - vectors
    settled = []
    for t in tiles:
        held = min(t.chunks, max(registers, 0) // (t.columns * CHUNK * words))
        kept = min(t.chunks - held, max(shared, 0) // t.chunk_size)
        registers -= held * t.columns * CHUNK * words
        shared -= kept * t.chunk_size
        settled.append(t._replace(in_registers=held, in_shared=kept))
    return tuple(settled)


class Spread(NamedTuple):
    """How a recurrent kernel is spread over blocks."""

    tiles: tuple[Tile, ...]  # of one block
    blocks: int  # that share the layer; 0 where each block has all of it

    @property
    def size(self) -> int:
        """Weights of all tiles."""
        return sum(t.size for t in self.tiles) * max(self.blocks, 1)

    @property
    def shared_size(self) -> int:
        """Weights in shared memory, of one block."""
        return sum(t.shared_size for t in self.tiles)


def spread_over(
    columns: tuple[int, ...],
    lanes: int,
    inner: tuple[int, ...],
    units: int,
    itemsize: int,
    vectors_alone: Callable[[tuple[Tile, ...]], int],
    vectors_of_grid: Callable[[tuple[Tile, ...]], int],
) -> Spread:
    """One block for everything if it can hold all weights, else as many as run at once.

    Args:
        columns: of each tile.
        lanes: of a team.
        inner: length of the inner sum of each tile.
        units: H.
        itemsize: of a weight.
        vectors_alone: numbers in shared memory besides weights, in one block.
        vectors_of_grid: the same in a grid.

    Raises:
        ValueError: there are more units than even a grid has threads for.
    """
    tiles = tuple(tile(c, lanes, i, units) for c, i in zip(columns, inner))
    if tiles[0].threads <= 1024:
        tiles = settle(tiles, itemsize, vectors_alone(tiles))
        if all(t.resident for t in tiles):
            return Spread(tiles, 0)
    own = -(-units // (8 * multiprocessors())) * 8
    if own * VECTORS > 1024:
        most = multiprocessors() * 1024 // VECTORS
        raise ValueError(
            f"{multiprocessors()} multiprocessors take at most {most} units, not {units}"
        )
    split = max(1, min(MOST_SPLIT, 1024 // (own * VECTORS)))
    tiles = tuple(tile(c, lanes, i, own, split) for c, i in zip(columns, inner))
    vectors = vectors_of_grid(tiles)
    if vectors * itemsize > SHARED_BYTES:
        raise ValueError(
            f"cuda kernels have no room in shared memory for {units} units of {itemsize} bytes"
        )
    return Spread(settle(tiles, itemsize, vectors), -(-units // own))


def make_fetch(t: Tile) -> Any:
    """Device function: a thread's registers and the block's shared memory get their weights."""
    held_chunks, threads, chunk_size = t.in_registers, t.threads, t.chunk_size
    shared_size = t.shared_size
    hold = _hold(t, held_chunks)

    @inlined
    def fetch(
        held: Any, shared: Any, shared_start: int, weights: Any, start: int, tid: int
    ) -> None:
        hold(held, weights, start + tid * 4)
        first = start + held_chunks * chunk_size
        for i in range(tid, shared_size, threads):
            shared[shared_start + i] = weights[first + i]

    return fetch


def _hold(t: Tile, chunks: int) -> Any:
    """Device function: load the first chunks of a thread's weights into its registers.

    Functions that call each other, one a chunk: an array stays in registers only where every
    index is a constant, and the compiler leaves loops of this size alone.
    """
    columns, threads, chunk_size = t.columns, t.threads, t.chunk_size
    if not chunks:

        @inlined
        def nothing(held: Any, weights: Any, at: int) -> None:
            pass

        return nothing
    before, chunk = _hold(t, chunks - 1), chunks - 1

    @inlined
    def hold(held: Any, weights: Any, at: int) -> None:
        before(held, weights, at)
        for g in range(columns):
            four = load4(weights, at + chunk * chunk_size + g * threads * 4)
            held[(chunk * columns + g) * 4 + 0] = four[0]
            held[(chunk * columns + g) * 4 + 1] = four[1]
            held[(chunk * columns + g) * 4 + 2] = four[2]
            held[(chunk * columns + g) * 4 + 3] = four[3]

    return hold


@inlined
def _add(sums: Any, g: int, w: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    """Four multiply-adds for each of the four vectors."""
    for e in range(4):
        sums[g * 4 + 0] = fma(w[e], a[e], sums[g * 4 + 0])
        sums[g * 4 + 1] = fma(w[e], b[e], sums[g * 4 + 1])
        sums[g * 4 + 2] = fma(w[e], c[e], sums[g * 4 + 2])
        sums[g * 4 + 3] = fma(w[e], d[e], sums[g * 4 + 3])


def _add_held(t: Tile, chunks: int) -> Any:
    """Device function: the products of the first chunks, which are in registers; as `_hold`."""
    columns, inner, stride = t.columns, t.inner, t.split * t.lanes * CHUNK
    if not chunks:

        @inlined
        def nothing(sums: Any, held: Any, vectors: Any, at: int) -> None:
            pass

        return nothing
    before, chunk = _add_held(t, chunks - 1), chunks - 1

    @inlined
    def add_held(sums: Any, held: Any, vectors: Any, at: int) -> None:
        before(sums, held, vectors, at)
        a = load4(vectors, at + chunk * stride)
        b = load4(vectors, at + chunk * stride + inner)
        c = load4(vectors, at + chunk * stride + 2 * inner)
        d = load4(vectors, at + chunk * stride + 3 * inner)
        for g in range(columns):
            w = (chunk * columns + g) * 4
            _add(sums, g, (held[w], held[w + 1], held[w + 2], held[w + 3]), a, b, c, d)

    return add_held


def make_multiply(t: Tile, dtype: Any) -> Any:
    """Device function: a thread's part of the sums of four vectors, then the team's exchange.

    It leaves the sums of unit `tid // 4` (of its row of teams) and vector `tid % 4` in the first
    entries of `sums`: one a column in a team of 4, one in a team of 16.
    """
    columns, lanes, chunks = t.columns, t.lanes, t.chunks
    held_end, shared_end = t.in_registers, t.in_registers + t.in_shared
    threads, inner, row_threads, chunk_size = t.threads, t.inner, t.units * VECTORS, t.chunk_size
    stride = t.split * lanes * CHUNK
    many = columns * VECTORS
    zero = dtype.type(0)
    exchange = _make_exchange(columns, lanes)
    add_held = _add_held(t, held_end)

    @inlined
    def multiply(
        sums: Any,
        held: Any,
        shared: Any,
        shared_start: int,
        weights: Any,
        start: int,
        tid: int,
        vectors: Any,
        vector_start: int,
    ) -> None:
        lane = tid & (lanes - 1)
        at = vector_start + (tid // row_threads * lanes + lane) * 4
        for i in range(many):
            sums[i] = zero
        add_held(sums, held, vectors, at)
        at += held_end * stride
        mine = shared_start + tid * 4
        for _ in range(held_end, shared_end):
            a = load4(vectors, at)
            b = load4(vectors, at + inner)
            c = load4(vectors, at + 2 * inner)
            d = load4(vectors, at + 3 * inner)
            for g in range(columns):
                _add(sums, g, load4(shared, mine + g * threads * 4), a, b, c, d)
            at += stride
            mine += chunk_size
        mine = start + shared_end * chunk_size + tid * 4
        for _ in range(shared_end, chunks):
            a = load4(vectors, at)
            b = load4(vectors, at + inner)
            c = load4(vectors, at + 2 * inner)
            d = load4(vectors, at + 3 * inner)
            for g in range(columns):
                _add(sums, g, load4(weights, mine + g * threads * 4), a, b, c, d)
            at += stride
            mine += chunk_size
        exchange(sums, lane)

    return multiply


def _make_exchange(columns: int, lanes: int) -> Any:
    """Device function: sums over a team, of which each thread gets its own."""
    final = columns if lanes == 4 else 1

    @inlined
    def swap(keep: Any, send: Any, distance: int) -> Any:
        return keep + shuffle_xor(send, distance)

    @inlined
    def exchange(sums: Any, lane: int) -> None:
        if lanes == 16:  # four columns: which of them, by bits 3 and 2
            high, odd = lane & 8, lane & 4
            for i in range(8):
                low_sum, high_sum = sums[i], sums[i + 8]
                sums[i] = swap(high_sum if high else low_sum, low_sum if high else high_sum, 8)
            for i in range(4):
                even_sum, odd_sum = sums[i], sums[i + 4]
                sums[i] = swap(odd_sum if odd else even_sum, even_sum if odd else odd_sum, 4)
        odd_vector, high_vector = lane & 1, lane & 2
        for g in range(final):
            a, b, c, d = sums[4 * g], sums[4 * g + 1], sums[4 * g + 2], sums[4 * g + 3]
            low = swap(b if odd_vector else a, a if odd_vector else b, 1)
            high_pair = swap(d if odd_vector else c, c if odd_vector else d, 1)
            sums[g] = swap(high_pair if high_vector else low, low if high_vector else high_pair, 2)

    return exchange


@family("f4", "f8")
def _packer(dtype: Any) -> Any:
    real, zero = number(dtype), dtype.type(0)

    @kernel(pointer(real), int64, pointer(real), *(int64,) * 10)
    def pack(
        packed: Any,
        start: int,
        matrix: Any,
        units: int,
        stride: int,
        first: int,
        gates: int,
        columns: int,
        lanes: int,
        block_units: int,
        split: int,
        chunks: int,
        blocks: int,
    ) -> None:
        row_threads = block_units * 4
        threads = row_threads * split
        size = chunks * columns * threads * 4
        i = cuda.grid(1)
        while i < size * blocks:
            block, rest = i // size, i % size
            e = rest % 4
            tid = rest // 4 % threads
            column = rest // (4 * threads) % columns
            chunk = rest // (4 * threads * columns)
            local, part = tid % row_threads, tid // row_threads
            inner = ((chunk * split + part) * lanes + local % lanes) * 4 + e
            value = zero
            if lanes == 4:  # rows are inner, a unit's columns are its gates
                unit = block * block_units + local // 4
                if inner < units and unit < units:
                    value = matrix[inner * stride + first + column * units + unit]
            else:  # rows are units, inner goes along the gates
                unit = block * block_units + local // 16 * 4 + column
                if inner < gates * units and unit < units:
                    value = matrix[unit * stride + first + inner]
            packed[start + i] = value
            i += cuda.gridsize(1)

    return pack


def pack_tile(
    packed: Any,
    start: int,
    t: Tile,
    matrix: Any,
    first: int,
    gates: int,
    blocks: int = 1,
) -> int:
    """Write the weights of a tile, for each block its own, to packed[start:].

    Args:
        packed: (W,).
        start: where to begin.
        t: the tile.
        matrix: (H, G * H) recurrent kernel.
        first: the first column of the matrix that counts.
        gates: number of gates from there on.
        blocks: with so many times `t.units` units in all.

    Returns:
        the end of what was written.
    """
    size = t.size * blocks
    units, stride = matrix.shape
    _packer(packed.dtype).launch(
        *span(size),
        *(packed, start, matrix, units, stride, first, gates),
        *(t.columns, t.lanes, t.units, t.split, t.chunks, blocks),
    )
    return start + size
