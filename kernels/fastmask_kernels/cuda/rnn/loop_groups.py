"""Which group of sequences a time loop runs when, and where a thread's sequences stand.

A block alone takes groups from a queue, the longest first; the blocks of a grid run all groups
together, in one turn. `thread` and `call` are named tuples of the loop.
"""

from __future__ import annotations

from typing import Any

from ..ops import inlined, meet_block, take_ticket
from ..runtime.kernel import int32
from .loop_products import Products


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
