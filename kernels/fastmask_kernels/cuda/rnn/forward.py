"""The time loop: states from step to step, for any cell.

It knows nothing of masks: row p of every packed array belongs to the p-th valid step, the rows of
a sequence stand one after the other, and `reverse` only takes them from the last to the first.

    z            (P, stride)  x W + b at the valid steps; where gates are saved they replace it
    rows of h    (P, stride)  h after the step, perhaps in the first columns of z itself: a thread
                              writes only columns of units whose z nobody else reads
    other rows   (P, H)       the other states

Who multiplies is up to `loop_products`, and what a cell computes to `forward_cells`. A block that
can hold all weights runs turns of sequences on its own, else blocks of a grid share a layer, each
with its own units (`loop_groups`, `grid`). States stay in registers, as does what says where
sequences stand, and rows of z are read one step ahead: in a grid while blocks wait for each other.

States stand in two planes, read from one and written to the other, so that one barrier a step is
enough; a cell that calls a sum on a value has planes for that and another barrier. In a block a
sequence that has ended computes on, on numbers of its own that nobody reads: no branch parts the
warp.
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
    """Device functions of a thread, a call, and what stands here.

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
        if not self._products.together:  # nobody waits for it before the block's barrier
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
            # Of a block alone it needs no register until then.
            locate(t, turn if together else t.told[0])
            give(t, c)

        return run


@family()
def time_loop(kind: Kind, tiles: tuple[Any, ...], dtype: Any, saves: Saves, reverse: Any) -> Kernel:
    """The kernel for a cell.

    Args:
        kind: the cell.
        tiles: of its products.
        dtype: of its numbers.
        saves: what is written at each step.
        reverse: the direction, where it is known when compiling: on tensor cores; else None.
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
