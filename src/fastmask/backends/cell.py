"""What distinguishes the kernels of one cell from those of another."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fastmask_kernels.cells import Cell as Formula


class CellKernel(NamedTuple):
    """A kernel that is not in the table, because it is made of a cell's formula.

    Attributes:
        formula: the cell's formula; or its name in the table, for a form that is not in the table.
        name: "fwd" or another field of `fastmask_kernels.cells.table.CellKernels`.
        form: the form of the weights, if it is not the usual one.
    """

    formula: Formula | str
    name: str
    form: Form | None = None


class Form(NamedTuple):
    """Another form of a cell's kernels, see `fastmask_kernels.cpu.forms`.

    Attributes:
        weights: "bfloat16" or "int8"; None for the dtype of all else.
        gathered: whether x is not multiplied, but names rows of a table of sums.
    """

    weights: str | None
    gathered: bool = False


KernelName = str | CellKernel


def kernel_in(table: Any, name: KernelName) -> Any:
    """Find a kernel by its name in a table of kernels."""
    if type(name) is str:
        return getattr(table, name)
    assert isinstance(name, CellKernel)
    if name.form is None:
        return getattr(table.kernels_of(name.formula), name.name)
    return getattr(forms_in(table).kernels_in_form(name.formula, *name.form), name.name)


def forms_in(table: Any) -> Any:
    """The table of kernels, after checking that it has other forms.

    Raises:
        ValueError: it does not.
    """
    if not hasattr(table, "kernels_in_form"):
        raise ValueError("quantized layers need the compiled kernels, not the reference")
    return table


class Cell:
    """A cell as its kernels see it.

    Args:
        prefix: the beginning of its kernels' names.
        gates: number of blocks of H columns in its weights.
        states: number of states.
        width: number of blocks of H columns that backward works on at each step.
        bias_rows: 2 if input and state have biases of their own.
        flags: how many of the last settings packing takes, too.

    Attributes:
        saved: widths, in H, of what the forward kernel saves for backward.
        keeps_gates: whether it saves gates, besides the states.
        gates_saved: number of blocks of H columns of these, the first ones of `width`.
    """

    fwd: KernelName
    bwd: KernelName
    step: KernelName
    pack: KernelName
    packed_size: KernelName

    def __init__(
        self,
        prefix: str,
        *,
        gates: int,
        states: int,
        width: int,
        bias_rows: int = 1,
        flags: int = 0,
    ) -> None:
        self.prefix, self.gates, self.states, self.width = prefix, gates, states, width
        self.bias_rows, self.flags = bias_rows, flags
        self.keeps_gates = width > 1
        self.gates_saved = width if self.keeps_gates else 0
        self.saved = (1,) * states + ((width,) if self.keeps_gates else ())
        self.fwd, self.bwd, self.step = f"{prefix}_fwd", f"{prefix}_bwd", f"{prefix}_step"
        self.pack, self.packed_size = f"{prefix}_pack", f"{prefix}_packed_size"

    def __repr__(self) -> str:
        return f"<Cell {self.prefix!r}>"


class FormulaCell(Cell):
    """A cell whose kernels are generated from its formula.

    Args:
        formula: the formula.
    """

    def __init__(self, formula: Formula) -> None:
        states, sums = len(formula.states), len(formula.sums)
        Cell.__init__(self, formula.name, gates=sums, states=states, width=formula.width)
        self.formula, self.keeps_gates = formula, formula.keeps_gates
        self.gates_saved = len(formula.saved) if self.keeps_gates else 0
        self.saved = (1,) * states + ((self.gates_saved,) if self.keeps_gates else ())
        for name in _KERNELS:
            setattr(self, name, CellKernel(formula, name))


@cache
def cell_in_form(cell: Cell, form: Form) -> Cell:
    """A cell with kernels of another form."""
    made = copy.copy(cell)
    for name in _KERNELS:
        setattr(made, name, CellKernel(known_as(cell), name, form))
    return made


def known_as(cell: Cell) -> Formula | str:
    """What kernels of other forms are generated from, see `CellKernel`."""
    return cell.formula if isinstance(cell, FormulaCell) else cell.prefix


_KERNELS = "fwd", "bwd", "step", "pack", "packed_size"


LSTM = Cell("lstm", gates=4, states=2, width=4)
GRU = Cell("gru", gates=3, states=1, width=4, bias_rows=2, flags=1)
SIMPLE_RNN = Cell("rnn", gates=1, states=1, width=1)
