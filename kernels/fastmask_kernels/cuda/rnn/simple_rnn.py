"""SimpleRNN over the valid steps of a batch; `forward` and `layer` say how."""

from __future__ import annotations

from typing import Any

from ..runtime.checks import checked
from ..runtime.device import DeviceArray
from .cells import Kind
from .layer import run_layer
from .layout import layout
from .packing import pack

_PACKED = Kind("rnn", "tanh", "sigmoid")  # activations have no part in the layout


def rnn_packed_size(features: int, units: int, dtype: Any) -> int:
    """Length of `packed`."""
    return layout(_PACKED, features, units, dtype).size


@checked
def rnn_pack(
    packed: DeviceArray, kernel: DeviceArray, recurrent_kernel: DeviceArray, bias: DeviceArray
) -> None:
    """See `spec`."""
    pack(packed, _PACKED, kernel, recurrent_kernel, bias)


@checked
def rnn_fwd(
    out: DeviceArray,
    h_last: DeviceArray,
    h_steps: DeviceArray,
    x: DeviceArray,
    offsets: DeviceArray,
    steps: DeviceArray,
    order: DeviceArray,
    packed: DeviceArray,
    h_first: DeviceArray,
    activation: str,
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """See `spec`."""
    run_layer(
        Kind("rnn", activation, "linear"),
        out,
        (h_last,),
        (h_steps, None, None),
        x,
        (offsets, steps, order),
        packed,
        (h_first,),
        reverse,
        zero_masked,
    )
