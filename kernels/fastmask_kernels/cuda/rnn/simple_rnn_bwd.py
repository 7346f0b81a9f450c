"""Gradients of the SimpleRNN; `backward` and `gradients` say how."""

from __future__ import annotations

from ..runtime.checks import checked
from ..runtime.device import DeviceArray
from .cells import Kind
from .gradients import Weights, run_gradients


@checked
def rnn_bwd(
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
    reverse: bool,
    zero_masked: bool,
    threads: int,
) -> None:
    """See `spec`."""
    run_gradients(
        Kind("rnn", activation, "linear"),
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
        True,  # the output alone gives the derivative
        reverse,
        zero_masked,
    )
