"""LSTM over the valid steps of a batch; `forward` and `layer` say how."""

from __future__ import annotations

from typing import Any

from ..runtime.checks import checked
from ..runtime.device import DeviceArray
from .cells import Kind
from .layer import run_layer
from .layout import layout
from .packing import pack

_PACKED = Kind("lstm", "tanh", "sigmoid")  # activations have no part in the layout


def lstm_packed_size(features: int, units: int, dtype: Any) -> int:
    """Length of `packed`."""
    return layout(_PACKED, features, units, dtype).size


@checked
def lstm_pack(
    packed: DeviceArray, kernel: DeviceArray, recurrent_kernel: DeviceArray, bias: DeviceArray
) -> None:
    """See `spec`."""
    pack(packed, _PACKED, kernel, recurrent_kernel, bias)


@checked
def lstm_fwd(
    out: DeviceArray,
    h_last: DeviceArray,
    c_last: DeviceArray,
    h_steps: DeviceArray,
    c_steps: DeviceArray,
    gates: DeviceArray,
    x: DeviceArray,
    offsets: DeviceArray,
    steps: DeviceArray,
    order: DeviceArray,
    packed: DeviceArray,
    h_first: DeviceArray,
    c_first: DeviceArray,
    activation: str,
    recurrent_activation: str,
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """See `spec`."""
    run_layer(
        Kind("lstm", activation, recurrent_activation),
        out,
        (h_last, c_last),
        (h_steps, c_steps, gates),
        x,
        (offsets, steps, order),
        packed,
        (h_first, c_first),
        reverse,
        zero_masked,
    )
