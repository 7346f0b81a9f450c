"""Gradients of the LSTM; `backward` and `gradients` say how."""

from __future__ import annotations

from ..runtime.checks import checked
from ..runtime.device import DeviceArray
from .cells import Kind
from .gradients import Weights, run_gradients


@checked
def lstm_bwd(
    dx: DeviceArray,
    dkernel: DeviceArray,
    drecurrent_kernel: DeviceArray,
    dbias: DeviceArray,
    dh_first: DeviceArray,
    dc_first: DeviceArray,
    gates: DeviceArray,
    dout: DeviceArray,
    dh_last: DeviceArray,
    dc_last: DeviceArray,
    x: DeviceArray,
    offsets: DeviceArray,
    steps: DeviceArray,
    order: DeviceArray,
    kernel: DeviceArray,
    recurrent_kernel: DeviceArray,
    bias: DeviceArray,
    h_first: DeviceArray,
    c_first: DeviceArray,
    h_steps: DeviceArray,
    c_steps: DeviceArray,
    activation: str,
    recurrent_activation: str,
    gates_saved: bool,
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """See `spec`."""
    run_gradients(
        Kind("lstm", activation, recurrent_activation),
        dx,
        Weights(dkernel, drecurrent_kernel, dbias),
        (dh_first, dc_first),
        gates,
        dout,
        (dh_last, dc_last),
        x,
        (offsets, steps, order),
        Weights(kernel, recurrent_kernel, bias),
        (h_first, c_first),
        (h_steps, c_steps),
        gates_saved,
        reverse,
        zero_masked,
    )
