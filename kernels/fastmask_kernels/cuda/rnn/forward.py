"""The time loop: states from step to step, for any cell.

It knows nothing of masks: row p of every packed array belongs to the p-th valid step, the rows of
a sequence stand one after the other, and `reverse` only takes them from the last to the first.

    z            (P, stride)  x W + b at the valid steps; where gates are saved they replace it
    rows of h    (P, stride)  h after the step, perhaps in the first columns of z itself: a thread
                              writes only columns of units whose z nobody else reads
    other rows   (P, H)       the other states

Who multiplies, and how states get from thread to thread, `forward_products` says. A block alone
takes a group of sequences at a time from a queue, the longest first, and runs all their steps; it
keeps their states in registers and reads rows of z one step ahead. The blocks of a grid go through
all groups at each step, and keep states where the caller wants them at the end.

States stand in two planes, read from one and written to the other, so that one barrier a step is
enough; a cell that calls a sum on a value has a third plane and another barrier. A sequence that
has ended computes on, on numbers of its own that nobody reads: no branch parts the warp.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ..ops import in_turn, inlined, meet_block, take_ticket
from ..runtime.kernel import (
    Kernel,
    family,
    int32,
    int64,
    kernel,
    number,
    pointer,
    pointers,
    uint32,
)
from .columns import row_blocks
from .emit import Kind
from .forward_cells import ForwardCells, Registers, Rows, Saves
from .forward_groups import Groups, Sizes
from .forward_products import Memory, products_of
from .grid import meet


@family()
def time_loop(
    kind: Kind, tiles: tuple[Any, ...], dtype: Any, saves: Saves, together: bool, reverse: Any
) -> Kernel:
    """The kernel for a cell.

    Args:
        kind: the cell.
        tiles: of its products.
        dtype: of its numbers.
        saves: what is written at each step.
        together: whether a grid shares the layer.
        reverse: the direction, if it is known when compiling, else None.
    """
    cell, real, zero = kind.cell, number(dtype), dtype.type(0)
    products = products_of(tiles, dtype, together)
    cells = ForwardCells(kind, dtype.type, products, saves)
    count_states, constants = len(cell.states), len(cell.order) - len(cell.inputs)
    constants += len(cell.vectors)
    word, item, sequences, threads = (
        products.word,
        products.item,
        products.sequences,
        products.threads,
    )
    planes, group_size, fixed_units = products.planes, products.group, products.units
    per, own, first_held, second_held = (
        products.per,
        products.own,
        max(products.held[0], 1),
        max((*products.held[1:], 1)),
    )
    sums_size, zs_size, many = products.sums, cells.zs_size, products.cells
    states_size, given_size = count_states * many, max(constants * own, 1)
    fixed_width, directed, known_reverse = (
        row_blocks(cell, saves.gates) * fixed_units,
        reverse is not None,
        bool(reverse),
    )
    recomputed = products.in_shared
    find_spot, fetch = products.spot, in_turn(list(products.fetch))
    groups_of = Groups(products, count_states)
    begin, end = groups_of.begin(cells.read), groups_of.end()
    steps = in_turn([_round(groups_of, cells, n, together) for n in range(len(cells.round))])
    zero_word = word(0) if fixed_units else zero
    arrays = pointers(real, count_states)

    @kernel(
        *(pointer(real), int64, arrays, pointer(word), int64, pointer(real), int64),
        *(pointer(int64), pointer(int64), arrays, arrays),
        *(pointer(uint32 if together else int32), pointer(item), int64, int64, int64),
        launch_bounds=(threads, 1),
        cooperative=together,
    )
    def run(
        z: Any,
        z_stride: int,
        states_after: Any,
        weights: Any,
        weights_start: int,
        bias: Any,
        bias_start: int,
        offsets: Any,
        order: Any,
        first: Any,
        last: Any,
        counter: Any,
        exchanged: Any,
        batch: int,
        all_units: int,
        backwards: int,
    ) -> None:
        words = cuda.shared.array(0, word, alignment=16)
        items = cuda.shared.array(0, item, alignment=16)
        reals = cuda.shared.array(0, real, alignment=16)
        ticket = cuda.shared.array(1, int32)
        held = cuda.local.array(first_held, word), cuda.local.array(second_held, word)
        sums, zs = cuda.local.array(sums_size, real), cuda.local.array(zs_size, real)
        states = cuda.local.array(states_size, real)
        operand, given = cuda.local.array(many, real), cuda.local.array(given_size, real)
        count, row = cuda.local.array(per, int32), cuda.local.array(per, int64)
        at, to = cuda.local.array(per, int64), cuda.local.array(per, int64)
        state = cuda.local.array(per, int64)
        units, width, reverse = all_units, z_stride, backwards
        if fixed_units:
            units, width = fixed_units, fixed_width
        # A step that is constant gives every pointer registers of its own, for an addition a step;
        # where they are short addresses are computed from the row.
        forth = 1 - 2 * backwards
        if directed:
            reverse = known_reverse
            if not recomputed:
                forth = -1 if known_reverse else 1
        block, blocks = int32(0), int32(1)
        if together:
            block, blocks = int32(cuda.blockIdx.x), int32(cuda.gridDim.x)
        spot = find_spot(int32(cuda.threadIdx.x), block, blocks)
        memory = Memory(words, items, reals, exchanged, held, weights, weights_start)
        r = Registers(sums, zs, states, operand, given, count, row, at, to, state)
        rows = Rows(z, states_after, first, last, offsets, order)
        sizes = Sizes(batch, units, width, reverse, forth)
        fetch(memory, spot)
        if not together:
            for i in range(spot.tid, planes, threads):
                words[i] = zero_word
        for n in range(constants):
            for u in range(own):
                given[n * own + u] = zero
                if spot.unit + 8 * u < units:
                    given[n * own + u] = bias[bias_start + n * units + spot.unit + 8 * u]
        group, groups = 0, (batch + (sequences - 1)) // sequences
        while True:
            if not together:
                cuda.syncthreads()
                if spot.tid == 0:
                    ticket[0] = take_ticket(counter)
                cuda.syncthreads()
                group = ticket[0]
            if group >= groups:
                break
            longest = order[group * sequences]
            longest = int32(offsets[longest + 1] - offsets[longest])
            for i in range(zs_size):
                zs[i] = zero
            plane = group_size * groups if together else group_size
            begin(r, rows, memory, spot, sizes, group, groups)
            if together:
                meet(counter, blocks)
            else:
                cuda.syncthreads()
            k, old = int32(0), int32(0)
            while k < longest:
                steps(r, rows, memory, spot, sizes, counter, group, groups, k, old, plane)
                old = plane - old if together else int32(plane - old)
                k = int32(k + 1)
            end(r, rows, spot, sizes, ticket[0])
            if together:
                break

    return run


def _round(groups_of: Groups, cells: ForwardCells, number: int, together: bool) -> Any:
    """Device function: a product of a step with what follows it, and then all meet."""
    run, rounds = groups_of.round(number, cells.round[number], cells.read), len(cells.round)

    @inlined
    def one(
        r: Any, rows: Any, m: Any, spot: Any, sizes: Any, counter: Any, group: int, groups: int,
        k: int, old: int, plane: int,
    ) -> None:  # fmt: skip
        run(r, rows, m, spot, sizes, group, groups, k, old, plane)
        if together:
            meet(counter, (k * rounds + (number + 2)) * spot.blocks)
        else:
            meet_block()

    return one
