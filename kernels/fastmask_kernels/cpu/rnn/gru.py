"""The GRU of the kernel table: two kinds, with a bias of two rows."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ... import cells
from ...cells import Cell
from ...cells.table import CellKernels
from ...checks import checked
from ...spec import KERNELS, cell_kernels
from .calls import fields_of, run_layer
from .cells import compiled_of, kernels_of, pack_cell, run_backward
from .step import run_step

_BOTH = cells.gru_reset_before, cells.gru


def gru_weights(bias: Any, reset_after: bool) -> tuple[Cell, Any]:
    """The cell, and its own bias, from a bias of two rows."""
    of_input, of_state = bias.reshape(2, 3, -1)
    z_r_n = of_input + of_state
    if reset_after:
        z_r_n = np.concatenate([z_r_n[:2], of_input[2:], of_state[2:]])
    return _BOTH[bool(reset_after)], z_r_n.ravel()


@checked
def gru_bwd(call: Any) -> None:
    """See `spec`."""
    cell, bias = gru_weights(call.bias, call.reset_after)
    dbias = np.empty_like(bias)
    own = {**call._asdict(), "bias": bias, "dbias": dbias}
    del own["reset_after"]
    run_backward(cell, cell_kernels(cell).bwd.call(**own))
    in_two_rows(dbias, call.dbias)


def in_two_rows(dbias: Any, rows: Any) -> None:
    """Split the gradient of a bias, as `gru_weights` returns it, into that of two rows."""
    units = rows.shape[1] // 3
    last = 2 * units
    rows[:, :last] = dbias[:last]
    rows[0, last:] = dbias[last : last + units]
    rows[1, last:] = dbias[len(dbias) - units :]


@cache
def gru_kernels(format: str | None = None, gathered: bool = False) -> CellKernels:
    """The kernels of both kinds, in one form, see `forms`."""
    both = [compiled_of(cell, format, gathered) for cell in _BOTH]
    layers = [one.layer._replace(fields=fields_of(one.code, KERNELS["gru_fwd"])) for one in both]

    def pack(call: Any) -> None:
        """See `spec`."""
        _, bias = gru_weights(call.bias, call.reset_after)
        code = both[bool(call.reset_after)].code
        pack_cell(code, call.packed, call.kernel, call.recurrent_kernel, bias)

    def fwd(call: Any) -> None:
        """See `spec`. Fastest when `packed` begins on a cache line (see `memory`)."""
        run_layer(layers[bool(call.reset_after)], call)

    def step(call: Any) -> None:
        """See `spec`."""
        one = both[bool(call.reset_after)]
        run_step(one.code, one.step, call)

    return CellKernels(
        kernels_of(cells.gru, format, gathered).packed_size,  # of both kinds
        checked(pack, kernel=KERNELS["gru_pack"]),
        checked(fwd, kernel=KERNELS["gru_fwd"]),
        gru_bwd,
        checked(step, kernel=KERNELS["gru_step"]),
    )
