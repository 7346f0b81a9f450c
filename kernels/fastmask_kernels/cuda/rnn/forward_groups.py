"""The sequences of a group in a forward time loop: where a thread's cells stand in all arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..ops import in_turn, inlined
from ..runtime.kernel import int32
from .forward_products import Products


class Sizes(NamedTuple):
    """Numbers of a call."""

    batch: Any
    units: Any
    width: Any  # of a row of z
    reverse: Any
    forth: Any  # from a step's row to the next one's: 1, or -1


class Groups:
    """Device functions for the cells that a thread has of a group.

    Args:
        products: which cells a thread has.
        states: how many states a cell has.
    """

    def __init__(self, products: Products, states: int) -> None:
        self._products = products
        self.locate, self.go_to, self.go_on = _locate(products), _go_to(products), _go_on(products)
        self.take = in_turn([_take(products, n) for n in range(states)])
        self.give = in_turn([_give(products, n) for n in range(states)])

    def begin(self, read: Any) -> Any:
        """Device function: the states before the first step."""
        locate, take, give, go_to = self.locate, self.take, self.give, self.go_to
        put, together, size = self._products.put, self._products.together, self._products.group

        @inlined
        def begin(
            r: Any, rows: Any, m: Any, spot: Any, sizes: Any, group: int, groups: int
        ) -> None:
            while group < groups:
                locate(r, rows, spot, sizes, group)
                take(r, rows.first, spot.unit, sizes.units)
                if together:
                    give(r, rows.last, int32(-1), spot.unit, sizes.units)
                    put(m, spot, group * size, r.states, int32(-1), r.count)
                else:
                    go_to(r, spot, sizes, int32(0))
                    read(r, rows, int32(0), spot.unit, sizes.units)
                    put(m, spot, 0, r.states, int32(-1), r.count)
                    break
                group += 1

        return begin

    def end(self) -> Any:
        """Device function: a block alone writes the states after the last step."""
        locate, give, together = self.locate, self.give, self._products.together

        @inlined
        def end(r: Any, rows: Any, spot: Any, sizes: Any, group: int) -> None:
            if not together:
                locate(r, rows, spot, sizes, group)
                give(r, rows.last, int32(-1), spot.unit, sizes.units)

        return end

    def round(self, number: int, update: Any, read: Any) -> Any:
        """Device function: a product of step k, and what follows it, of all groups in hand.

        Args:
            number: of the product.
            update: device function, see `ForwardCells.round`.
            read: see `ForwardCells.read`.
        """
        locate, take, give = self.locate, self.take, self.give
        go_to, go_on, products = self.go_to, self.go_on, self._products
        put, multiply, together = products.put, products.multiply[number], products.together
        sequences, is_last = products.sequences, number == len(products.multiply) - 1
        size = products.group if together else 0

        @inlined
        def run(
            r: Any, rows: Any, m: Any, spot: Any, sizes: Any, group: int, groups: int,
            k: int, old: int, plane: int,
        ) -> None:  # fmt: skip
            source = 2 * plane if number else old
            while group < groups:
                if together:
                    b = rows.order[group * sequences]
                    if rows.offsets[b + 1] - rows.offsets[b] <= k:
                        break
                    locate(r, rows, spot, sizes, group)
                    go_to(r, spot, sizes, k)
                    take(r, rows.last, spot.unit, sizes.units)
                    read(r, rows, k, spot.unit, sizes.units)
                multiply(r.sums, m, spot, source + group * size, group % 2)
                update(r, rows, k, spot.unit, sizes.units)
                if not is_last:
                    put(m, spot, 2 * plane + group * size, r.operand, k, r.count)
                elif together:
                    put(m, spot, plane - old + group * size, r.states, k, r.count)
                    give(r, rows.last, k, spot.unit, sizes.units)
                else:
                    go_on(r, spot, sizes)
                    read(r, rows, int32(k + 1), spot.unit, sizes.units)
                    put(m, spot, int32(plane - old), r.states, k, r.count)
                if not together:
                    break
                group += 1

        return run


def _locate(products: Products) -> Any:
    """Device function: a thread's sequences of a group, and how long they are."""
    per, sequences = products.per, products.sequences

    @inlined
    def locate(r: Any, rows: Any, spot: Any, sizes: Any, group: int) -> None:
        first = group * sequences + spot.vector
        here = spot.leads and spot.unit < sizes.units
        for s in range(per):
            r.count[s], r.row[s], r.state[s] = int32(-1), 0, 0
            if here and first + s < sizes.batch:
                b = rows.order[first + s]
                r.row[s] = rows.offsets[b]
                r.count[s] = int32(rows.offsets[b + 1] - r.row[s])
                r.state[s] = b * sizes.units + spot.unit

    return locate


def _go_to(products: Products) -> Any:
    """Device function: the rows of step k, from the first rows of the sequences."""
    per = products.per

    @inlined
    def go_to(r: Any, spot: Any, sizes: Any, k: int) -> None:
        for s in range(per):
            r.row[s] += r.count[s] - 1 - k if sizes.reverse else k
            r.at[s] = r.row[s] * sizes.width + spot.unit
            r.to[s] = r.row[s] * sizes.units + spot.unit

    return go_to


def _go_on(products: Products) -> Any:
    """Device function: the rows of the next step."""
    per = products.per

    @inlined
    def go_on(r: Any, spot: Any, sizes: Any) -> None:
        for s in range(per):
            r.row[s] += sizes.forth
            r.at[s] = r.row[s] * sizes.width + spot.unit
            r.to[s] = r.row[s] * sizes.units + spot.unit

    return go_on


def _take(products: Products, n: int) -> Any:
    """Device function: a state of a thread's cells from an array (B, H), or zeros."""
    per, own, zero, first = products.per, products.own, products.zero, n * products.cells

    @inlined
    def take(r: Any, source: Any, unit: int, units: int) -> None:
        for u in range(own):
            for s in range(per):
                i = first + u * per + s
                r.states[i] = zero
                if r.count[s] >= 0 and unit + 8 * u < units:
                    r.states[i] = source[n][r.state[s] + 8 * u]

    return take


def _give(products: Products, n: int) -> Any:
    """Device function: a state of the cells that have a step k, to an array (B, H)."""
    per, own, first = products.per, products.own, n * products.cells

    @inlined
    def give(r: Any, target: Any, k: int, unit: int, units: int) -> None:
        for u in range(own):
            for s in range(per):
                if k < r.count[s] and unit + 8 * u < units:
                    target[n][r.state[s] + 8 * u] = r.states[first + u * per + s]

    return give
