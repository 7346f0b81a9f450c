"""What a thread of a time loop is, which group of sequences it runs when, and where these stand.

A block alone takes groups from a queue, the longest first; the blocks of a grid run all groups
together, in one turn. `call` is a named tuple of the loop's arguments.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..ops import inlined, meet_block, take_ticket
from ..runtime.kernel import int32
from .loop_products import Products


class Thread(NamedTuple):
    """Who a thread is, and its arrays."""

    tid: Any
    block: Any  # of a grid that shares a layer, else 0
    blocks: Any
    unit: Any  # of its first cells
    pair: Any  # its first sequence in a group
    leads: Any  # it has cells: others only share inner sums
    ticket: Any  # the block's
    words: Any  # shared memory of the block, as weights are read,
    items: Any  # as vectors are written,
    partial: Any  # as sums are
    held: Any  # weights in registers, of each product
    sums: Any  # see `Products.sum_at`
    count: Any  # of each of its sequences: steps, or -1 where the thread has none,
    row: Any  # the step's number among the valid ones,
    at: Any  # the place of the thread's first unit in the step's row of z, or of `gates`,
    to: Any  # in a row of H numbers,
    state: Any  # in the states before the first step and after the last one
    own: Any  # what one direction has besides


@inlined
def _next_of_queue(t: Any, c: Any, group: int) -> Any:
    meet_block()
    if t.tid == 0:
        t.ticket[0] = take_ticket(c.counter)
    meet_block()
    return t.ticket[0]


@inlined
def _next_of_grid(t: Any, c: Any, group: int) -> Any:
    return c.groups if group >= 0 else 0


def next_group_of(together: bool) -> Any:
    """Device function of (thread, call, group): which group follows it, after -1 the first."""
    return _next_of_grid if together else _next_of_queue


def make_locate(products: Products) -> Any:
    """Device function of (thread, call, group): a thread's sequences, and how long they are."""
    per, sequences = products.per, products.sequences

    @inlined
    def locate(t: Any, c: Any, group: int) -> None:
        first = group * sequences + t.pair
        for s in range(per):
            t.count[s], t.row[s], t.state[s] = int32(-1), 0, 0
            if t.leads and first + s < c.batch:
                b = c.order[first + s]
                t.row[s] = c.offsets[b]
                t.count[s] = int32(c.offsets[b + 1] - t.row[s])
                t.state[s] = b * c.units + t.unit

    return locate


def make_go_to(products: Products) -> Any:
    """Device function of (thread, call, k): from the first rows of the sequences to step k.

    A sequence that has no such step is where it would be.
    """
    per = products.per

    @inlined
    def go_to(t: Any, c: Any, k: int) -> None:
        for s in range(per):
            t.row[s] += t.count[s] - 1 - k if c.reverse else k
            t.at[s], t.to[s] = t.row[s] * c.width + t.unit, t.row[s] * c.units + t.unit

    return go_to


def make_move(products: Products) -> Any:
    """Device function of (thread, call): from the rows of a step to those of the next one."""
    per = products.per

    @inlined
    def move(t: Any, c: Any) -> None:
        for s in range(per):
            t.row[s] += c.forth
            t.at[s], t.to[s] = t.row[s] * c.width + t.unit, t.row[s] * c.units + t.unit

    return move
