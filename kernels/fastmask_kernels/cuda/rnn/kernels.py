"""The kernels of any cell; `layer` and `gradients` do the work."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...cells import Cell, lstm, simple_rnn
from ...cells.table import CellKernels
from ...spec import cell_kernels
from .emit import Kind
from .gradients import run_gradients
from .layer import run_layer
from .layout import layout
from .packing import pack_weights
from .plans import checked
from .step import run_step


def kind_of(cell: Cell, call: Any = None) -> Kind:
    """A cell with the activations of a call; without a call, enough for the layout of weights."""
    names = "activation", "recurrent_activation"
    return Kind(cell, *(getattr(call, name, "linear") for name in names))


@cache
def kernels_of(cell: Cell) -> CellKernels:
    """The kernels of a cell, see `spec.cell_kernels`.

    They raise ValueError if there is no code for the cell, see `columns.require_kernels`.
    """
    rows, states = cell_kernels(cell), len(cell.states)
    saved = (1,) * states + ((len(cell.saved),) if cell.keeps_gates else ())

    def packed_size(features: int, units: int, dtype: Any) -> int:
        """Length of `packed`."""
        return layout(kind_of(cell), features, units, dtype).size

    def pack(call: Any) -> None:
        pack_weights(kind_of(cell), *call)

    def fwd(call: Any) -> None:
        run_layer(kind_of(cell, call), call)

    def bwd(call: Any) -> None:
        run_gradients(kind_of(cell, call), call)

    forward = checked(fwd, rows.fwd)

    def step(call: Any) -> None:
        """Allocates device memory of the states' size, and frees it."""
        run_step(forward, call, states, saved)

    return CellKernels(
        packed_size,
        checked(pack, rows.pack),
        forward,
        checked(bwd, rows.bwd),
        checked(step, rows.step),
    )


lstm_packed_size, lstm_pack, lstm_fwd, lstm_bwd, lstm_step = kernels_of(lstm)
rnn_packed_size, rnn_pack, rnn_fwd, rnn_bwd, rnn_step = kernels_of(simple_rnn)
