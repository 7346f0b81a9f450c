"""The backward kernels of cells: all from their formulas, see `backward`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ... import cells
from ...cells import Cell
from ...checks import TableFunction, checked
from ...spec import cell_kernels
from .columns import columns_of
from .gate_gradients import TimeLoop
from .gradients import Inputs, weight_gradients
from .ranks import check_plan
from .recompute import Recomputation


@cache
def backward(cell: Cell) -> TableFunction:
    """The kernel that gives the gradients of a cell."""
    gradients = _gradients_of(cell)

    def bwd(call: Any) -> None:
        """See `spec`."""
        gradients.run(call)

    return checked(bwd, kernel=cell_kernels(cell).bwd)


class _Gradients:
    """The gradients of a cell."""

    def __init__(self, cell: Cell) -> None:
        self._columns = columns_of(cell)
        self._loop, self._recomputation = TimeLoop(self._columns), Recomputation(self._columns)

    def run(self, call: Any) -> None:
        """Write them all."""
        columns, offsets, arrays = self._columns, call.offsets, self._loop.arrays(call)
        check_plan(offsets, call.steps, call.order, call.x.shape[1])
        steps, gates = call.steps[: offsets[-1]], call.gates[: offsets[-1]]
        inputs = Inputs(call.x, arrays.first, arrays.states, offsets, steps, call.reverse)
        if columns.cell.keeps_gates and not call.gates_saved:
            self._recomputation.write(call, inputs, gates)
        if arrays.first[0].size:
            self._loop.run(call, arrays, gates, (offsets, steps, call.order))
        weight_gradients(call, columns, inputs, gates)


_gradients_of = cache(_Gradients)


@checked
def gru_bwd(call: Any) -> None:
    """See `spec`."""
    cell = cells.gru if call.reset_after else cells.gru_reset_before
    of_x, of_h = call.bias
    units = call.h_first.shape[1]
    last = 2 * units
    if call.reset_after:
        bias = np.concatenate([of_x[:last] + of_h[:last], of_x[last:], of_h[last:]])
    else:
        bias = of_x + of_h
    dbias = np.empty_like(bias)
    own = {**call._asdict(), "bias": bias, "dbias": dbias}
    del own["reset_after"]
    _gradients_of(cell).run(cell_kernels(cell).bwd.call(**own))
    call.dbias[:, :last] = dbias[:last]
    call.dbias[0, last:] = dbias[last : last + units]
    call.dbias[1, last:] = dbias[len(dbias) - units :]
