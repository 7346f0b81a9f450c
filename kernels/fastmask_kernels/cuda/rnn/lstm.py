"""The LSTM of the kernel table; `layer` and `gradients` say how it is computed."""

from __future__ import annotations

from typing import Any

from ...cells import lstm
from ..runtime.checks import checked
from ..runtime.device import DeviceArray
from .emit import Kind
from .gradients import run_gradients
from .layer import run_layer
from .layout import layout
from .packing import pack

_PACKED = Kind(lstm, "tanh", "sigmoid")  # the layout does not depend on activations


def _kind(call: Any) -> Kind:
    return Kind(lstm, call.activation, call.recurrent_activation)


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
def lstm_fwd(call: Any) -> None:
    """See `spec`."""
    run_layer(_kind(call), call)


@checked
def lstm_bwd(call: Any) -> None:
    """See `spec`."""
    run_gradients(_kind(call), call)
