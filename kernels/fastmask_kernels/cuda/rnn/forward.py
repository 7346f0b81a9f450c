"""The forward time loop: states from step to step, for any cell.

It knows nothing about masks: row p of every packed array belongs to the p-th valid step, the rows
of a sequence are contiguous, and `reverse` merely runs them from the last to the first.

    z            (P, stride)  x W + b at the valid steps; where gates are saved they replace it
    rows of h    (P, stride)  h after the step, perhaps in the first columns of z itself: a thread
                              writes only columns of units whose z nobody else reads
    other rows   (P, H)       the other states

`loop_products` does the products, `forward_cells` the cells. A block that can hold all weights runs
turns of sequences on its own; otherwise the blocks of a grid share a layer, each with its own units
(`loop_groups`, `grid`). States and the positions of sequences stay in registers, and rows of z are
read one step ahead: in a grid while blocks wait for each other.

h is in two planes, one read and one written, so that one barrier per step is enough; a cell that
calls a sum on a value has further planes and another barrier. In a single block, a sequence that
has ended keeps computing, on numbers of its own that nobody reads, so that the warp does not
diverge.
"""

from __future__ import annotations

from typing import Any

from ..ops import in_turn, inlined
from ..runtime.kernel import Kernel, family, int32, int64, number, pointer, pointers
from .columns import row_blocks
from .emit import Kind
from .forward_cells import Call, Cells, Saves
from .loop import Parts, loop_of
from .loop_groups import make_go_to, make_locate, make_move, turns_of
from .loop_products import Products, products_of
from .mma import Fragments


class _Steps:
    """Device functions of (thread, call) and what is listed here.

    open        turn: the states before the first step
    step        k
    close       turn: the states after the last step
    """

    def __init__(self, cells: Cells, products: Products) -> None:
        self._cells, self._products, self._turns = cells, products, turns_of(products)
        self._locate, self._move = make_locate(products), make_move(products)

    @property
    def open(self) -> Any:
        locate, go_to, turns = self._locate, make_go_to(self._products), self._turns
        take, read, put = self._cells.take, self._cells.read, self._cells.put(0)
        tell, arrive, wait = turns.tell, turns.arrive, turns.wait

        @inlined
        def run(t: Any, c: Any, turn: int, k: int) -> None:
            locate(t, turn)
            tell(t)
            take(t, c, c.first)
            put(t, c, int32(-1))
            arrive(t)
            go_to(t, k)
            read(t, c, k)
            wait(t)

        return run

    @property
    def step(self) -> Any:
        last = len(self._products.multiply) - 1
        return in_turn([self._round(p, last) for p in range(last + 1)])

    def _round(self, p: int, last: int) -> Any:
        go_on = self._go_on if p == last else in_turn([])
        multiply, wait = self._products.multiply[p], self._turns.wait
        compute, put = self._cells.round(p, self._turns.arrive), in_turn([])
        if not self._products.together:  # no other block waits for it
            put = self._cells.put(0 if p == last else p + 1)

        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            multiply(t, int32(0 if p else k & 1), k)
            compute(t, c, k)
            go_on(t, c, k)
            put(t, c, k)
            wait(t)

        return run

    @property
    def _go_on(self) -> Any:
        move, read = self._move, self._cells.read

        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            move(t)
            read(t, c, int32(k + 1))

        return run

    @property
    def close(self) -> Any:
        locate, give, together = self._locate, self._cells.give, self._products.together

        @inlined
        def run(t: Any, c: Any, turn: int) -> None:
            # A single block reads its turn back, so that it needs no register until then.
            locate(t, turn if together else t.told[0])
            give(t, c)

        return run


@family()
def time_loop(kind: Kind, tiles: tuple[Any, ...], dtype: Any, saves: Saves, reverse: Any) -> Kernel:
    """The forward kernel of a cell.

    Args:
        kind: the cell and its activations.
        tiles: of its products.
        dtype: of its numbers.
        saves: what is saved at each step.
        reverse: the direction, if it is known when compiling (on tensor cores), else None.
    """
    products = products_of(tiles, dtype)
    fixed = tiles[0].units if isinstance(tiles[0], Fragments) else 0  # H, where it is known
    cells = Cells(kind, dtype.type, products, saves, fixed)
    loop, many, states = _Steps(cells, products), products.cells, len(kind.cell.states)
    width = row_blocks(kind.cell, saves.gates) * fixed
    arrays = pointer(number(dtype)), pointers(number(dtype), states)
    parts = Parts(
        "time_loop",
        Call(*arrays, arrays[0], int64, arrays[1], arrays[1]),
        (cells.zs_size, states * many, many, cells.given_size),
        *(cells.fetch, loop.open, loop.step, loop.close, 1, fixed, width, reverse),
    )
    return loop_of(products, dtype, parts)
