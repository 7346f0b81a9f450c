"""The backward time loop: only what depends on the step after.

    dh = dy + what later steps pass back; gates are overwritten by the gradients of their sums;
    dh of the step before = those gradients times the transposed recurrent kernel

`loop_products` does the products, `backward_cells` the cells. A block that can hold all weights
runs turns of sequences on its own; otherwise the blocks of a grid share a layer, each with its own
units (`loop_groups`, `grid`). A thread keeps its state in registers.
"""

from __future__ import annotations

from typing import Any

from ..ops import in_turn, inlined
from ..runtime.kernel import Kernel, family, int32, number, pointer, pointers
from .backward_cells import BackwardCells, Call, Variant
from .emit import Kind
from .loop import Parts, loop_of
from .loop_groups import make_go_to, make_locate, make_move, turns_of
from .loop_products import Products, products_of


class _Steps:
    """Device functions of (thread, call) and what is listed here.

    open        turn, k: starts at step k
    step        k
    close       turn
    """

    def __init__(self, cells: BackwardCells, products: Products) -> None:
        self._cells, self._products, self._turns = cells, products, turns_of(products)
        # The next turn's first step writes to a plane that other blocks may still be reading.
        self.close = in_turn([cells.close, self._between] if products.together else [cells.close])

    @property
    def open(self) -> Any:
        locate, go_to = make_locate(self._products), make_go_to(self._products)
        tell, ahead = self._turns.tell, self._products.ahead
        begin, read = self._cells.open, self._cells.read

        @inlined
        def run(t: Any, c: Any, turn: int, k: int) -> None:
            locate(t, turn)
            tell(t)
            go_to(t, k)
            begin(t, c, k)
            if ahead:
                read(t, c, k)

        return run

    @property
    def step(self) -> Any:
        cells, products, move = self._cells, self._products, make_move(self._products)
        read, advance, add, ahead = cells.read, cells.advance, cells.add, products.ahead
        first, *others = (cells.round(n, self._turns.arrive) for n in range(cells.count))
        later = zip(products.multiply, others, strict=False)
        rounds = in_turn([first, *(self._later_round(*both) for both in later)])
        multiply, wait = products.multiply[-1], self._turns.wait

        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            if not ahead:
                read(t, c, k)
            rounds(t, c, k)
            advance(t, c, k)
            move(t)
            if ahead:
                read(t, c, k - 1)
            wait(t)
            multiply(t, int32(k & 1), k)
            add(t, c, k)

        return run

    def _later_round(self, multiply: Any, compute: Any) -> Any:
        wait = self._turns.wait

        @inlined
        def run(t: Any, c: Any, k: int) -> None:
            wait(t)
            multiply(t, int32(k & 1), k)
            compute(t, c, k)

        return run

    @property
    def _between(self) -> Any:
        arrive, wait = self._turns.arrive, self._turns.wait

        @inlined
        def run(t: Any, c: Any, turn: int) -> None:
            arrive(t)
            wait(t)

        return run


@family()
def gradient_loop(kind: Kind, tiles: tuple[Any, ...], dtype: Any, variant: Variant) -> Kernel:
    """The backward kernel of a cell.

    Args:
        kind: the cell and its activations.
        tiles: of the products that `backward_cells.blocks_of_products` lists.
        dtype: of its numbers.
        variant: what is known of the call.
    """
    products, cell = products_of(tiles, dtype), kind.cell
    cells = BackwardCells(kind, dtype, products, variant)
    loop, width = _Steps(cells, products), cell.width * variant.units
    real = pointer(number(dtype))
    states, vectors = (pointers(number(dtype), len(n)) for n in (cell.states, cell.vectors))
    known = -1, variant.units, width, variant.reverse
    parts = Parts(
        "gradient_loop",
        Call(states, real, real, states, vectors, states, states),
        (cells.row * products.cells, 0, 0, 0),
        *(cells.fetch, loop.open, loop.step, loop.close, *known),
    )
    return loop_of(products, dtype, parts)
