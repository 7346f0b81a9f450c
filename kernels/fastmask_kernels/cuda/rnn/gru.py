"""GRU over the valid steps of a batch; `forward` and `layer` say how."""

from __future__ import annotations

from typing import Any

from ..runtime.checks import checked
from ..runtime.device import DeviceArray
from .cells import Kind
from .layer import run_layer
from .layout import layout
from .packing import pack


def kind_of(activation: str, recurrent_activation: str, reset_after: bool) -> Kind:
    """The form of the GRU."""
    name = "gru_after" if reset_after else "gru_before"
    return Kind(name, activation, recurrent_activation)


def gru_packed_size(features: int, units: int, dtype: Any) -> int:
    """Length of `packed`."""
    return layout(kind_of("tanh", "sigmoid", True), features, units, dtype).size


@checked
def gru_pack(
    packed: DeviceArray,
    kernel: DeviceArray,
    recurrent_kernel: DeviceArray,
    bias: DeviceArray,
    reset_after: bool,
) -> None:
    """See `spec`."""
    pack(packed, kind_of("tanh", "sigmoid", reset_after), kernel, recurrent_kernel, bias)


@checked
def gru_fwd(
    out: DeviceArray,
    h_last: DeviceArray,
    h_steps: DeviceArray,
    gates: DeviceArray,
    x: DeviceArray,
    offsets: DeviceArray,
    steps: DeviceArray,
    order: DeviceArray,
    packed: DeviceArray,
    h_first: DeviceArray,
    activation: str,
    recurrent_activation: str,
    reset_after: bool,
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """See `spec`."""
    run_layer(
        kind_of(activation, recurrent_activation, reset_after),
        out,
        (h_last,),
        (h_steps, None, gates),
        x,
        (offsets, steps, order),
        packed,
        (h_first,),
        reverse,
        zero_masked,
    )
