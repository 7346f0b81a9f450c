"""The SimpleRNN of the kernel table; `layer` and `gradients` say how it is computed."""

from __future__ import annotations

from typing import Any

from ...cells import simple_rnn
from ..runtime.checks import checked
from ..runtime.device import DeviceArray
from .emit import Kind
from .gradients import run_gradients
from .layer import run_layer
from .layout import layout
from .packing import pack

_PACKED = Kind(simple_rnn, "tanh", "sigmoid")  # the layout does not depend on activations


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
def rnn_fwd(call: Any) -> None:
    """See `spec`."""
    run_layer(Kind(simple_rnn, call.activation, "linear"), call)


@checked
def rnn_bwd(call: Any) -> None:
    """See `spec`."""
    run_gradients(Kind(simple_rnn, call.activation, "linear"), call)
