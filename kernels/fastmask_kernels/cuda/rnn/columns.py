"""Which columns of a cell's weights a time loop multiplies with what, and its limits."""

from __future__ import annotations

from collections.abc import Sequence

from ...cells import Cell
from ...formula import walk
from ..products import Pieces

MOST_SUMS = 4  # of a cell on tensor cores
MOST_NUMBERS = 9  # sums, states and vectors of a cell: as many as an LSTM with peepholes has


def of_h(cell: Cell) -> tuple[str, ...]:
    """Names of the sums in the product with h, in the order of z."""
    left_out = {*cell.formula.x_only, *cell.formula.second}
    return tuple(name for name in cell.order if name not in left_out)


def called(cell: Cell) -> tuple[str, ...]:
    """Names of the sums that are called on a value, in the order of their products."""
    return tuple(call.args[0].args[0] for call in cell.called)


def rounds(cell: Cell) -> tuple[tuple[str, ...], ...]:
    """Names of the sums of each product of a step, forward."""
    return (of_h(cell), *((name,) for name in called(cell)))


def row_blocks(cell: Cell, save_gates: bool) -> int:
    """Blocks of H numbers in a row of z; h may overwrite the first one later."""
    return len(cell.saved) if save_gates else max(1, len(cell.inputs))


def more_numbers(cell: Cell) -> int:
    """Registers that a thread needs for a cell beyond those reserved for any cell."""
    numbers = len(cell.sums) + len(cell.states) + len(cell.vectors)
    return max(0, 2 * (numbers - MOST_NUMBERS))


def runs(names: Sequence[str], among: Sequence[str], wanted: Sequence[str] | None = None) -> Pieces:
    """Runs of names adjacent in both lists: index in `names`, index in `among`, and length.

    Args:
        names: some may be missing from the other list.
        among: the other list.
        wanted: the names to take; without it all that are in both.
    """
    found: list[tuple[int, int, int]] = []
    for n, name in enumerate(names):
        if name in (among if wanted is None else wanted):
            place = among.index(name)
            first, at, count = found[-1] if found else (-1, -1, 0)
            if (first + count, at + count) == (n, place):
                found[-1] = first, at, count + 1
            else:
                found.append((n, place, 1))
    return tuple(found)


def require_kernels(cell: Cell, tensor_cores: bool) -> None:
    """Raise ValueError if the time loops have no code for a cell."""
    if any(symbol.op == "moments" for symbol in walk(cell.formula.new)):
        raise ValueError(
            f"cuda kernels have no means over the units of a row: the cell {cell.name} uses "
            "normalize"
        )
    if len(cell.called) > 1:
        raise ValueError(
            f"cuda kernels have one product a step besides that with h: the cell {cell.name} "
            f"calls {' and '.join(called(cell))}"
        )
    if tensor_cores and len(cell.sums) > MOST_SUMS:
        raise ValueError(
            f"weights in tf32 and bfloat16 are for cells of at most {MOST_SUMS} sums: the cell "
            f"{cell.name} has {len(cell.sums)}; use float32"
        )
