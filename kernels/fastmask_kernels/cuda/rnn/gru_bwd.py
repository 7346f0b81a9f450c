"""Gradients of the GRU; `backward` and `gradients` say how."""

from __future__ import annotations

from ..runtime.checks import checked
from ..runtime.device import DeviceArray
from .gradients import Weights, run_gradients
from .gru import kind_of


@checked
def gru_bwd(
    dx: DeviceArray,
    dkernel: DeviceArray,
    drecurrent_kernel: DeviceArray,
    dbias: DeviceArray,
    dh_first: DeviceArray,
    gates: DeviceArray,
    dout: DeviceArray,
    dh_last: DeviceArray,
    x: DeviceArray,
    offsets: DeviceArray,
    steps: DeviceArray,
    order: DeviceArray,
    kernel: DeviceArray,
    recurrent_kernel: DeviceArray,
    bias: DeviceArray,
    h_first: DeviceArray,
    h_steps: DeviceArray,
    activation: str,
    recurrent_activation: str,
    gates_saved: bool,
    reset_after: bool,
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """See `spec`."""
    run_gradients(
        kind_of(activation, recurrent_activation, reset_after),
        dx,
        Weights(dkernel, drecurrent_kernel, dbias),
        (dh_first,),
        gates,
        dout,
        (dh_last,),
        x,
        (offsets, steps, order),
        Weights(kernel, recurrent_kernel, bias),
        (h_first,),
        (h_steps,),
        gates_saved,
        reverse,
        zero_masked,
    )
