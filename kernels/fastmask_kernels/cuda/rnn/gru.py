"""The GRU of the kernel table: two cells, and a bias of Keras's."""

from __future__ import annotations

from typing import Any

from ...cells import Cell, gru, gru_reset_before
from ..runtime.checks import checked
from ..runtime.device import DeviceArray, empty
from .gradients import run_gradients
from .kernels import kernels_of, kind_of
from .layer import run_layer
from .packing import copy_block, pack_weights
from .step import run_step


def _cell(reset_after: bool) -> Cell:
    return gru if reset_after else gru_reset_before


gru_packed_size = kernels_of(gru).packed_size  # the same for both


@checked
def gru_pack(
    packed: DeviceArray,
    kernel: DeviceArray,
    recurrent_kernel: DeviceArray,
    bias: DeviceArray,
    reset_after: bool,
) -> None:
    """See `spec`."""
    cell, units = _cell(reset_after), recurrent_kernel.shape[0]
    sums = empty(len(cell.sums) * units, bias.dtype, bias.device)
    copy_block(sums, 0, bias, 0, 3 * units)  # z, r, n of the input
    copy_block(sums, 0, bias, 3 * units, 2 * units, add=True)  # z, r of the state
    last = 3 * units if reset_after else 2 * units
    copy_block(sums, last, bias, 5 * units, units, add=not reset_after)
    pack_weights(kind_of(cell), packed, kernel, recurrent_kernel, sums)


@checked
def gru_fwd(call: Any) -> None:
    """See `spec`."""
    run_layer(kind_of(_cell(call.reset_after), call), call)


@checked
def gru_bwd(call: Any) -> None:
    """See `spec`."""
    run_gradients(kind_of(_cell(call.reset_after), call), call)


@checked
def gru_step(call: Any) -> None:
    """See `spec`. Memory of the states' size is taken from the device, and given back."""
    run_step(gru_fwd, call, 1, (1, len(gru.saved)))
