"""A thread of a time loop: its state, which sequences it runs when, and where their rows are.

A single block, or the blocks that share a copy of the layer, run one turn of sequences after the
other, the longest first: all steps of `at_once` neighbors in the plan's order. Single blocks take
turns from a queue, copies of the layer take them round-robin. `call` holds a direction's arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..ops import in_turn, inlined, meet_block, take_ticket
from ..runtime.kernel import int32
from . import grid
from .loop_products import Products


class Layer(NamedTuple):
    """Arguments of the loops of both directions."""

    weights: Any
    weights_start: Any
    offsets: Any
    order: Any
    batch: Any
    units: Any
    width: Any  # of a row of z, or of `gates`
    reverse: Any
    counter: Any = None  # of turns taken, or of blocks that arrived at the barrier
    exchanged: Any = None  # vectors that the blocks of a grid exchange
    groups: Any = 1  # of sequences that the blocks sharing the layer run at once


class Thread(NamedTuple):
    """A thread's indices and arrays."""

    tid: Any
    copy: Any  # index of the copy of the layer that its blocks share, else 0
    copies: Any  # how many there are
    block: Any  # index among the blocks that share it
    unit: Any  # the first unit of its cells
    pair: Any  # its first sequence in a turn
    leads: Any  # whether it has cells
    at_once: Any  # sequences in a turn
    units: Any  # from the layer, or known when compiling; so are the next two
    width: Any
    reverse: Any
    forth: Any  # from a step's row to the next step's, in the loop's order: 1 or -1
    layer: Any
    told: Any  # shared by the block: its turn, or in a grid the length of each group
    words: Any  # the block's shared memory, typed as weights are read,
    items: Any  # as vectors are written,
    partial: Any  # and as sums are written
    held: Any  # weights in registers, for each product
    sums: Any  # see `Products.sum_at`
    values: Any  # [cell][number]: forward a row of z, or what a second round needs from the first
    now: Any  # forward, [state][cell]
    operand: Any  # forward, [cell]: the value that a sum is called on
    given: Any  # forward, [number][unit]: biases of sums without x, then vectors
    count: Any  # for each of its sequences: number of steps, or -1 if it has no such sequence,
    row: Any  # index of the step among the valid steps,
    at: Any  # index of the thread's first unit in the step's row of z or `gates`,
    to: Any  # the same in a row of H numbers,
    state: Any  # the same in the states before the first and after the last step
    met: Any  # the count to wait for at the barrier of its copy


class Turns(NamedTuple):
    """Device functions for running turns."""

    who: Any  # (tid, index of the block, units, groups at once) -> six fields of a `Thread`
    next_turn: Any  # (thread, turn) -> the turn that follows; after -1 the first
    tell: Any  # (thread): shares the lengths of the turn's groups with the block
    arrive: Any  # (thread): signals that what others wait for is written
    wait: Any  # (thread): waits for what others write


def turns_of(products: Products) -> Turns:
    """The functions for single blocks, or for blocks that share a layer."""
    return (_together if products.together else _alone)(products)


def _alone(products: Products) -> Turns:
    sequences, place = products.sequences, products.who
    nothing = in_turn([])

    @inlined
    def who(tid: int, index: int, units: int, groups: int) -> Any:
        unit, pair = place(tid, int32(0))
        return int32(0), int32(0), unit, pair, unit < units, int32(sequences)

    @inlined
    def next_turn(t: Any, turn: int) -> Any:
        meet_block()
        if t.tid == 0:
            t.told[0] = take_ticket(t.layer.counter)
        meet_block()
        return t.told[0]

    @inlined
    def wait(t: Any) -> None:
        meet_block()

    return Turns(who, next_turn, nothing, nothing, wait)


def _together(products: Products) -> Turns:
    sequences, place, groups = products.sequences, products.who, products.groups
    blocks, row_threads = products.blocks, products.row_threads
    more = np.uint32(blocks)

    @inlined
    def who(tid: int, index: int, units: int, groups: int) -> Any:
        copy, at_once = int32(index // blocks), int32(groups * sequences)
        block = int32(index % blocks)
        unit, pair = place(tid, block)
        return copy, block, unit, pair, unit < units and pair < at_once, at_once

    @inlined
    def next_turn(t: Any, turn: int) -> Any:
        return t.copy if turn < 0 else turn + t.copies

    @inlined
    def tell(t: Any) -> None:
        if t.tid % row_threads == 0 and t.tid // row_threads < groups:
            t.told[t.tid // row_threads] = t.count[0]
        if t.tid == 0:
            t.told[groups] = int32(0)  # a sentinel group without steps

    @inlined
    def arrive(t: Any) -> None:
        grid.arrive(t.layer.counter, t.copy * grid.COUNTERS)

    @inlined
    def wait(t: Any) -> None:
        t.met[0] += more
        grid.wait(t.layer.counter, t.copy * grid.COUNTERS, t.met[0])

    return Turns(who, next_turn, tell, arrive, wait)


def make_run(turns: Turns, open_turn: Any, step: Any, close: Any, forth: int) -> Any:
    """Device function of (thread, call): runs all turns and steps; arguments as in `loop.Parts`."""
    next_turn, forward = turns.next_turn, forth > 0

    @inlined
    def run(t: Any, c: Any) -> None:
        count = (t.layer.batch + (t.at_once - 1)) // t.at_once
        turn = next_turn(t, -1)
        while turn < count:
            b = t.layer.order[turn * t.at_once]
            steps = int32(t.layer.offsets[b + 1] - t.layer.offsets[b])
            k = int32(0 if forward else steps - 1)
            open_turn(t, c, turn, k)
            while k < steps if forward else k >= 0:  # backward `steps` needs no register
                step(t, c, k)
                k = int32(k + forth)
            close(t, c, turn)
            turn = next_turn(t, turn)

    return run


def make_locate(products: Products) -> Any:
    """Device function of (thread, turn): finds a thread's sequences and their lengths."""
    per = products.per

    @inlined
    def locate(t: Any, turn: int) -> None:
        first = turn * t.at_once + t.pair
        for s in range(per):
            t.count[s], t.row[s], t.state[s] = int32(-1), 0, 0
            if t.leads and first + s < t.layer.batch:
                b = t.layer.order[first + s]
                t.row[s] = t.layer.offsets[b]
                t.count[s] = int32(t.layer.offsets[b + 1] - t.row[s])
                t.state[s] = b * t.units + t.unit

    return locate


def make_go_to(products: Products) -> Any:
    """Device function of (thread, k): moves from the first rows of the sequences to step k.

    A sequence without a step k moves to where it would be.
    """
    per = products.per

    @inlined
    def go_to(t: Any, k: int) -> None:
        for s in range(per):
            t.row[s] += t.count[s] - 1 - k if t.reverse else k
            t.at[s], t.to[s] = t.row[s] * t.width + t.unit, t.row[s] * t.units + t.unit

    return go_to


def make_move(products: Products) -> Any:
    """Device function of (thread): moves from the rows of a step to the rows of the next."""
    per = products.per

    @inlined
    def move(t: Any) -> None:
        for s in range(per):
            t.row[s] += t.forth
            t.at[s], t.to[s] = t.row[s] * t.width + t.unit, t.row[s] * t.units + t.unit

    return move
