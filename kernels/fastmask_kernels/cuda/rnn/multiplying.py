"""Products with a matrix that a block keeps close: the device functions of `resident`."""

from __future__ import annotations

from typing import Any

from ..ops import fma, inlined, load4, of_lines, shuffle_xor
from .resident import CHUNK, VECTORS, Tile


def vector_stride(t: Tile) -> int:
    """Numbers from one of four vectors to the next, as a row of teams reads them.

    A single block has each vector in one piece, a grid only what a team reads of it in a chunk.
    """
    return t.lanes * CHUNK * (1 if t.blocks else t.chunks)


def chunk_stride(t: Tile) -> int:
    """Numbers from one chunk of a row of teams to the next."""
    return t.lanes * CHUNK * (VECTORS if t.blocks else 1)


def make_place(t: Tile) -> Any:
    """Device function: index in a plane of number i + more of vector sequence + s.

    The planes of several groups stand one after the other, each with the parts of all rows.
    """
    split, chunks, width = t.split, t.chunks, t.lanes * CHUNK
    between, chunk, plane = vector_stride(t), chunk_stride(t), t.plane

    @inlined
    def in_one_piece(i: int, sequence: int, more: int, s: int) -> Any:
        return sequence * between + i + (s * between + more)

    @inlined
    def place(i: int, sequence: int, more: int, s: int) -> Any:
        i, sequence = i + more, sequence + s
        row, at = i // width % split, i // (width * split)
        start = sequence // VECTORS * plane + sequence % VECTORS * between
        return start + (row * chunks * VECTORS * width + at * chunk + i % width)

    return place if t.blocks else in_one_piece


def make_fetch(t: Tile) -> Any:
    """Device function: loads weights into a thread's registers and the block's shared memory."""
    held_chunks, threads, chunk_size = t.in_registers, t.threads, t.chunk * t.threads
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

    An array stays in registers only if every index is a constant, and the compiler does not unroll
    loops of this size.
    """
    lines = []
    for chunk in range(chunks):
        for g in range(t.columns):
            first = (chunk * t.columns + g) * 4
            place = first * t.threads
            lines.append(f"four = load4(weights, at + {place})")
            lines += [f"held[{first + e}] = four[{e}]" for e in range(4)]
    return of_lines(("held", "weights", "at"), lines, {"load4": load4})


@inlined
def _add(sums: Any, g: int, w: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    """Four multiply-adds for each of the four vectors."""
    for e in range(4):
        sums[g * 4 + 0] = fma(w[e], a[e], sums[g * 4 + 0])
        sums[g * 4 + 1] = fma(w[e], b[e], sums[g * 4 + 1])
        sums[g * 4 + 2] = fma(w[e], c[e], sums[g * 4 + 2])
        sums[g * 4 + 3] = fma(w[e], d[e], sums[g * 4 + 3])


def _add_held(t: Tile, chunks: int) -> Any:
    """Device function: multiplies the first chunks, which are in registers; unrolled as `_hold`."""
    lines = []
    for chunk in range(chunks):
        place = chunk * chunk_stride(t)
        for n, name in enumerate("abcd"):
            lines.append(f"{name} = load4(vectors, at + {place + n * vector_stride(t)})")
        for g in range(t.columns):
            w = (chunk * t.columns + g) * 4
            held = f"(held[{w}], held[{w + 1}], held[{w + 2}], held[{w + 3}])"
            lines.append(f"add(sums, {g}, {held}, a, b, c, d)")
    return of_lines(("sums", "held", "vectors", "at"), lines, {"load4": load4, "add": _add})


def make_multiply(t: Tile, dtype: Any) -> Any:
    """Device function: computes a thread's part of four vectors' sums; then the team exchanges.

    It leaves the sums of unit `tid // 4` (of its row of teams) and vector `tid % 4` in the first
    entries of `sums`: one per column in a team of 4, one in a team of 16.
    """
    columns, lanes, chunks = t.columns, t.lanes, t.chunks
    held_end, shared_end = t.in_registers, t.in_registers + t.in_shared
    threads, chunk_size = t.threads, t.chunk * t.threads
    stride, inner = chunk_stride(t), vector_stride(t)
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
        at: int,
    ) -> None:
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
        exchange(sums, tid & (lanes - 1))

    return multiply


def _make_exchange(columns: int, lanes: int) -> Any:
    """Device function: adds up the sums of a team; each thread keeps its own."""
    final = columns if lanes == 4 else 1

    @inlined
    def swap(keep: Any, send: Any, distance: int) -> Any:
        return keep + shuffle_xor(send, distance)

    @inlined
    def exchange(sums: Any, lane: int) -> None:
        if lanes == 16:  # four columns: bits 3 and 2 choose one
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
