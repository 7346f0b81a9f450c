"""The GRU of the kernel table; `layer` and `gradients` say how it is computed."""

from __future__ import annotations

from typing import Any

from ...cells import gru, gru_reset_before
from ..runtime.checks import checked
from ..runtime.device import DeviceArray
from .emit import Kind
from .gradients import run_gradients
from .layer import run_layer
from .layout import layout
from .packing import pack


def _kind(activation: str, recurrent_activation: str, reset_after: bool) -> Kind:
    return Kind(gru if reset_after else gru_reset_before, activation, recurrent_activation)


def gru_packed_size(features: int, units: int, dtype: Any) -> int:
    """Length of `packed`."""
    return layout(_kind("tanh", "sigmoid", True), features, units, dtype).size


@checked
def gru_pack(
    packed: DeviceArray,
    kernel: DeviceArray,
    recurrent_kernel: DeviceArray,
    bias: DeviceArray,
    reset_after: bool,
) -> None:
    """See `spec`."""
    pack(packed, _kind("tanh", "sigmoid", reset_after), kernel, recurrent_kernel, bias)


@checked
def gru_fwd(call: Any) -> None:
    """See `spec`."""
    run_layer(_kind(call.activation, call.recurrent_activation, call.reset_after), call)


@checked
def gru_bwd(call: Any) -> None:
    """See `spec`."""
    run_gradients(_kind(call.activation, call.recurrent_activation, call.reset_after), call)
