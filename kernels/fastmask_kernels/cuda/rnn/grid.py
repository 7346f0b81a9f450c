"""The time loops for weights that no single block can hold: several blocks share a layer.

Each block owns some units and keeps their columns (backward, their rows) of the recurrent kernel.
Values that all units need go through global memory, in two planes that steps use in turn: h, r * h
of the GRU without `reset_after`, and backward the gradients of gates. A barrier across these
blocks separates writing from reading:

    arrive    after writing, the threads of a block synchronize; then one of them adds 1 to a
              counter, with release semantics
    wait      that thread spins until all blocks have arrived, with acquire semantics; then the
              threads of its block synchronize and read

Work that no other block waits for, such as writing what the step saves and reading the next rows
of z, happens between the two. The counter only grows, so it is never reset. Blocks wait for each
other, so the launch is cooperative.

Blocks run up to `groups` groups of sequences at once; a step multiplies only groups that have such
a step. Rows of threads share the inner sum: each row copies its part of every group's vectors from
the L2 cache to shared memory, the next group's while it multiplies one. Then each row adds up the
partial sums of all rows for one group, in a fixed order, and computes the cells of that group.

A device with room for several copies of a layer runs them, each with its own barrier and sequences.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import inlined, load4, meet_block, meet_warp, of_lines, store4, thread_of_block
from ..runtime import ptx as ptx
from ..runtime.kernel import WARP
from .places import Places

COUNTERS = 32  # words from one copy's counter to the next
_ONE = np.uint32(1)


@inlined
def arrive(counter: Any, at: int) -> None:
    """Tell the other blocks that this one has written its part.

    After the block's barrier, the release in `add_release` covers the writes of all its threads:
    one fence serves them all.
    """
    meet_block()
    if thread_of_block() == 0:
        ptx.add_release(ptx.global_address(counter, at), _ONE)


@inlined
def wait(counter: Any, at: int, target: int) -> None:
    """Wait until blocks have arrived `target` times.

    The load acquires what they released: for its own thread and, after the barrier, the others.
    """
    if thread_of_block() == 0:
        while ptx.load_acquire(ptx.global_address(counter, at)) < target:
            pass
    meet_block()


def make_stage(t: Places, itemsize: int, in_word: int) -> Any:
    """Device function: a row of threads starts to copy its part of a group's vectors.

    Args:
        t: the tile.
        itemsize: bytes of an element of `words`.
        in_word: elements of `exchanged` in an element of `words`.
    """
    many, size = 16 // itemsize, t.slice
    step = t.row_threads * many
    lines = ["i = tid % row_threads * many"]
    for first in range(0, size, step):
        copy = "copy(shared(words, to + (i + {0})), far(exchanged, (at + (i + {0})) * in_word))"
        test = "" if first + step <= size else f"if i + {first} < {size}: "
        lines.append(test + copy.format(first))
    names = {
        "copy": ptx.copy_async,
        "shared": ptx.shared_address,
        "far": ptx.global_address,
        "row_threads": t.row_threads,
        "many": many,
        "in_word": in_word,
    }
    return of_lines(("words", "to", "exchanged", "at", "tid"), lines, names)


def make_come(t: Places, own: bool) -> Any:
    """Device function: waits until a row's copies are there and the previous ones were read.

    With `own`, lanes of a warp read only what they copied themselves.
    """

    @inlined
    def for_lane() -> None:
        ptx.wait_copies()

    @inlined
    def for_warp() -> None:
        ptx.wait_copies()
        meet_warp()

    @inlined
    def for_block() -> None:
        ptx.wait_copies()
        meet_block()

    of_warp = for_lane if own else for_warp
    return of_warp if t.row_threads == WARP else for_block


def make_leave(t: Places, start: int) -> Any:
    """Device function: a thread stores its partial sums of a group in shared memory."""
    finals, threads = t.finals, t.threads
    lines = [f"at = start + (group * {threads} + tid) * {finals}"]
    if finals % 4:
        lines += [f"shared[at + {i}] = sums[{i}]" for i in range(finals)]
    for i in range(0, finals - 3, 4):
        four = ", ".join(f"sums[{i + e}]" for e in range(4))
        lines.append(f"store4(shared, at + {i}, ({four}))")
    names = {"start": start, "store4": store4}
    return of_lines(("sums", "shared", "group", "tid"), lines, names)


def make_total(t: Places, start: int) -> Any:
    """Device function: once all sums are stored, adds up those of the row's group, if any."""
    finals, threads, row_threads = t.finals, t.threads, t.row_threads
    lines = [f"at = start + (tid // {row_threads} * {threads} + tid % {row_threads}) * {finals}"]
    for part in range(t.split):
        add, at = "+=" if part else "=", f"at + {part * row_threads * finals}"
        if finals % 4:
            lines += [f"sums[{i}] {add} shared[{at} + {i}]" for i in range(finals)]
        for i in range(0, finals - 3, 4):
            lines.append(f"four = load4(shared, {at} + {i})")
            lines += [f"sums[{i + e}] {add} four[{e}]" for e in range(4)]
    if t.groups < t.split:
        lines = [f"if tid < {t.groups * row_threads}:", *(f"    {line}" for line in lines)]
    names = {"start": start, "load4": load4}
    add_up = of_lines(("sums", "shared", "tid"), lines, names)

    @inlined
    def total(sums: Any, shared: Any, tid: int) -> None:
        meet_block()
        add_up(sums, shared, tid)

    return total
