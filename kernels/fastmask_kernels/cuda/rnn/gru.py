"""The GRU of the kernel table: two cells, and the bias in Keras's layout."""

from __future__ import annotations

from typing import Any

from ...cells import Cell, gru, gru_reset_before
from ..runtime.device import DeviceArray, empty
from .gradients import run_gradients
from .kernels import kernels_of, kind_of
from .layer import run_layer
from .packing import copy_block, pack_weights
from .plans import checked
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
    kind, sums = kind_of(_cell(reset_after)), _bias_of_sums(bias, reset_after)
    pack_weights(kind, packed, kernel, recurrent_kernel, sums)


def _bias_of_sums(bias: DeviceArray, reset_after: bool) -> DeviceArray:
    """The biases of z, r and n (and q with `reset_after`) from Keras's two rows of three."""
    units = bias.shape[1] // 3
    sums = empty((4 if reset_after else 3) * units, bias.dtype, bias.device)
    copy_block(sums, 0, bias, 0, 3 * units)  # z, r, n of the input
    copy_block(sums, 0, bias, 3 * units, 2 * units, add=True)  # z, r of the state
    copy_block(sums, sums.size - units, bias, 5 * units, units, add=not reset_after)
    return sums


@checked
def gru_fwd(call: Any) -> None:
    """See `spec`."""
    run_layer(kind_of(_cell(call.reset_after), call), call)


@checked
def gru_bwd(call: Any) -> None:
    """See `spec`."""
    cell, units, bias = _cell(call.reset_after), call.bias.shape[1] // 3, call.bias
    if not call.gates_saved:
        bias = _bias_of_sums(bias, call.reset_after)
    dsums = empty(len(cell.sums) * units, bias.dtype, bias.device)
    run_gradients(kind_of(cell, call), call._replace(bias=bias, dbias=dsums))
    copy_block(call.dbias, 0, dsums, 0, 3 * units)
    copy_block(call.dbias, 3 * units, dsums, 0, 2 * units)
    copy_block(call.dbias, 5 * units, dsums, dsums.size - units, units)


@checked
def gru_step(call: Any) -> None:
    """See `spec`. Allocates device memory of the states' size, and frees it."""
    run_step(gru_fwd, call, 1, (1, len(gru.saved)))
