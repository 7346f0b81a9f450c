"""The GRU as the kernel table has it: in two forms, with a bias of two rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import cells
from ...checks import checked
from ...spec import KERNELS
from ..packing import Array
from .calls import fields_of, run_layer
from .cells import compiled_of, kernels_of, pack_cell
from .step import run_step

_AFTER, _BEFORE = compiled_of(cells.gru), compiled_of(cells.gru_reset_before)
_LAYERS = tuple(
    one.layer._replace(fields=fields_of(one.code, KERNELS["gru_fwd"])) for one in (_BEFORE, _AFTER)
)

gru_packed_size = kernels_of(cells.gru).packed_size  # of both forms


@checked
def gru_pack(
    packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array, reset_after: bool
) -> None:
    """See `spec`."""
    of_input, of_state = bias.reshape(2, 3, -1)
    z_r_n = of_input + of_state
    if reset_after:
        z_r_n = np.concatenate([z_r_n[:2], of_input[2:], of_state[2:]])
    code = (_AFTER if reset_after else _BEFORE).code
    pack_cell(code, packed, kernel, recurrent_kernel, z_r_n.ravel())


@checked
def gru_fwd(call: Any) -> None:
    """See `spec`. Fastest when `packed` begins on a cache line (see `memory`)."""
    run_layer(_LAYERS[bool(call.reset_after)], call)


@checked
def gru_step(call: Any) -> None:
    """See `spec`."""
    one = _AFTER if call.reset_after else _BEFORE
    run_step(one.code, one.step, call)
