"""A matrix that a block keeps close while tensor cores multiply eight vectors with it.

    sums[unit, column, n] = sum over i of matrix[i, column, unit] * vector[n, i]      n = 0..7

Words. Weights and vectors are 32-bit words of one tf32 or two bf16 numbers; one mma instruction of
a warp (see `ptx`) takes 16 rows of 8 words of the matrix and 8 words of every vector. A chunk is
two such products deep: 16 words of every vector, loaded by one `load_matrix`.

Threads. A warp owns `own` times 8 units with all their columns. A band is eight rows of the
matrix, one column of 8 units; two bands are the rows of a product. Lane 4 g + t of the warp ends
with the sums of unit g of every band and of vectors 2 t and 2 t + 1, in

    sums[2 * band + s]        band = u * columns + column,  u < own,  s = 0, 1

so that one thread has all gates of a unit, and `2 * own` cells. `split` rows of warps share the
inner sum; each ends with its partial sum.

    rows of the matrix                     of lane 4 g + t        of an LSTM, own = 1
    band 0   units 0..7, column 0   row g    sums[0], sums[1]    i  } one product of 16 rows
    band 1   units 0..7, column 1   row g    sums[2], sums[3]    f  }
    band 2   units 0..7, column 2   row g    sums[4], sums[5]    g  } the other
    band 3   units 0..7, column 3   row g    sums[6], sums[7]    o  }
                                         vectors 2 t, 2 t + 1

Places. A thread's weights fill its registers, then shared memory. It reads no others, and reads
them in the order of the packed weights,

    [team of 8 own units][chunk][product][two bands][lane][4]

whatever the number of blocks. Rows and columns that pad bands and chunks have zero weights;
vectors must be finite there. An odd number of bands is completed by a band of zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ops import in_turn, inlined, load4, of_lines, store4
from ..runtime import ptx as ptx
from ..runtime.kernel import WARP, uint16, uint32
from .places import Places

SEQUENCES = 8  # vectors of a group
CHUNK = 16  # words of a vector that are read at once
PAD = 4  # words between vectors, against bank conflicts


@dataclass(frozen=True)
class Fragments(Places):
    """How a matrix is laid out in the warps of a block."""

    in_word: int  # numbers in a word: 1 of tf32, 2 of bf16
    units: int  # of the layer
    inner: int  # length of the sum
    columns: int  # of a unit
    own: int  # units of a warp, in eights
    tiles: int  # pairs of bands
    warps: int  # side by side, each with its own units
    teams: int  # warps needed for all units of the layer

    @property
    def stride(self) -> int:
        """Words from one vector to the next, in a single block."""
        return self.slice // SEQUENCES


def fragments(
    in_word: int,
    units: int,
    inner: int,
    columns: int,
    own: int,
    warps: int,
    split: int = 1,
    blocks: int = 0,
) -> Fragments:
    """A tile of a layer of `units` units, with nothing in registers or shared memory yet."""
    bands, teams = columns * own, -(-units // (8 * own))
    tiles, chunks = -(-bands // 2), -(-inner // (split * CHUNK * in_word))
    return Fragments(
        *(in_word, units, inner, columns, own, tiles, warps, teams),
        blocks=blocks,
        split=split,
        chunks=chunks,
        row_threads=warps * WARP,
        chunk=8 * tiles,
        sequences=SEQUENCES,
        slice=SEQUENCES * (chunks * CHUNK + (0 if blocks else PAD)),
        finals=4 * tiles if bands > 1 else 2 * bands,
        size=teams * split * chunks * 8 * tiles * WARP,
    )


def make_fetch(t: Fragments) -> Any:
    """Device function: loads weights into a thread's registers and its part of shared memory."""
    chunks, warps, teams, chunk_size, threads = t.chunks, t.warps, t.teams, t.chunk, t.threads
    team_size = t.split * chunks * chunk_size * WARP
    in_registers, in_shared = t.in_registers, t.in_shared
    zero = np.uint32(0)
    held_size = in_registers * chunk_size
    lines = [
        line
        for q in range(0, held_size, 4)
        for line in (
            f"four = load4(weights, at + {q * WARP})",
            *(f"held[{q + e}] = four[{e}]" for e in range(4)),
        )
    ]
    hold_all = of_lines(("held", "weights", "at"), lines, {"load4": load4})
    clear_all = of_lines(("held",), [f"held[{n}] = zero" for n in range(held_size)], {"zero": zero})

    @inlined
    def fetch(
        held: Any, shared: Any, kept: int, weights: Any, start: int, block: int, tid: int
    ) -> None:
        warp, lane = tid // WARP, tid % WARP
        team = block * warps + warp % warps
        at = start + team * team_size + warp // warps * (chunks * chunk_size * WARP) + lane * 4
        if team < teams:
            hold_all(held, weights, at)
        else:
            clear_all(held)
        at += in_registers * chunk_size * WARP
        to = kept + tid * 4
        for _ in range(in_shared * chunk_size // 4):
            if team < teams:
                store4(shared, to, load4(weights, at))
            else:
                store4(shared, to, (zero, zero, zero, zero))
            at += 4 * WARP
            to += 4 * threads

    return fetch


def make_multiply(t: Fragments, read: Any) -> Any:
    """Device function: computes a warp's partial sums.

    Args:
        t: where the weights are.
        read: device function of (vectors, at, chunk): the four words of a lane's chunk.
    """
    product = ptx.mma_bf16 if t.in_word == 2 else ptx.mma_tf32
    tiles, in_registers, chunk_size, threads = t.tiles, t.in_registers, t.chunk, t.threads
    zero = np.float32(0)

    def add(sums: Any, m: int, a: Any, b0: Any, b1: Any) -> None:
        d = product(
            *(a[0], a[1], a[2], a[3], b0, b1),
            *(sums[4 * m], sums[4 * m + 1], sums[4 * m + 2], sums[4 * m + 3]),
        )
        sums[4 * m], sums[4 * m + 1], sums[4 * m + 2], sums[4 * m + 3] = d[0], d[1], d[2], d[3]

    add = inlined(add)

    def held_chunk(chunk: int) -> Any:
        @inlined
        def step(sums: Any, held: Any, shared: Any, kept: int, vectors: Any, at: int) -> None:
            b = read(vectors, at, chunk)
            for m in range(tiles):
                w = chunk * chunk_size + 4 * m
                add(sums, m, (held[w], held[w + 1], held[w + 2], held[w + 3]), b[0], b[1])
            for m in range(tiles):
                w = chunk * chunk_size + 4 * (tiles + m)
                add(sums, m, (held[w], held[w + 1], held[w + 2], held[w + 3]), b[2], b[3])

        return step

    def shared_chunk(chunk: int) -> Any:
        @inlined
        def step(sums: Any, held: Any, shared: Any, kept: int, vectors: Any, at: int) -> None:
            b = read(vectors, at, chunk)
            w = kept + (chunk - in_registers) * (chunk_size * threads)
            for m in range(tiles):
                add(sums, m, load4(shared, w + 4 * m * threads), b[0], b[1])
            for m in range(tiles):
                add(sums, m, load4(shared, w + 4 * (tiles + m) * threads), b[2], b[3])

        return step

    every = in_turn(
        [(held_chunk if c < in_registers else shared_chunk)(c) for c in range(t.chunks)]
    )

    @inlined
    def multiply(
        sums: Any, held: Any, shared: Any, kept: int, tid: int, vectors: Any, at: int
    ) -> None:
        for i in range(4 * tiles):
            sums[i] = zero
        every(sums, held, shared, kept + tid * 4, vectors, at)

    return multiply


def number_of(in_word: int) -> Any:
    """Numba type of a rounded number in memory."""
    return uint16 if in_word == 2 else uint32


def rounded(in_word: int) -> Any:
    """Device function: the bits of a rounded float32 number."""
    zero = np.float32(0)

    def to_bf16(x: Any) -> Any:
        return ptx.pack_bf16(x, zero)

    def to_tf32(x: Any) -> Any:
        return ptx.to_tf32(x)

    return inlined(to_bf16 if in_word == 2 else to_tf32)


@inlined
def read_shared(vectors: Any, at: int, chunk: int) -> Any:
    """A lane's words of a chunk of vectors in shared memory; `at` comes from `make_lane_start`."""
    return ptx.load_matrix(ptx.shared_address(vectors, at + chunk * CHUNK))


@inlined
def read_words(vectors: Any, at: int, chunk: int) -> Any:
    """The same for vectors in the order of a grid, see `make_place`."""
    return load4(vectors, at + chunk * (WARP * 4))


def make_read_far(t: Fragments) -> Any:
    """Device function: the same from global memory."""
    in_word = t.in_word

    @inlined
    def read(exchanged: Any, at: int, chunk: int) -> Any:
        at = (at + chunk * (WARP * 4)) * in_word
        return ptx.load_global_4_words(ptx.global_address(exchanged, at))

    return read


def make_place(t: Fragments) -> Any:
    """Device function: index in a plane of number i + more of vector sequence + s.

    A grid uses the order in which warps read, so that a lane's words of a chunk are 16 bytes:

        [group][chunk][lane][2 products of 2 words]     see `runtime.ptx` for B of lane 4 n + t
    """
    in_word, plane, stride = t.in_word, t.plane, t.stride * t.in_word

    @inlined
    def of_block(i: int, sequence: int, more: int, s: int) -> Any:
        return sequence * stride + i + (s * stride + more)

    @inlined
    def of_grid(i: int, sequence: int, more: int, s: int) -> Any:
        i, sequence = i + more, sequence + s
        word, half = i // in_word, i % in_word
        chunk, word = word // CHUNK, word % CHUNK
        lane, slot = 4 * (sequence % SEQUENCES) + word % 4, word // 4
        at = sequence // SEQUENCES * plane + (chunk * WARP + lane) * 4 + slot
        return at * in_word + half

    return of_grid if t.blocks else of_block


def make_lane_start(t: Fragments) -> Any:
    """Device function: where a thread starts to read vectors."""
    stride = t.stride

    @inlined
    def of_block(tid: int) -> Any:
        return tid % WARP % 8 * stride + tid % WARP // 8 * 4

    @inlined
    def of_grid(tid: int) -> Any:
        return tid % WARP * 4

    return of_grid if t.blocks else of_block
