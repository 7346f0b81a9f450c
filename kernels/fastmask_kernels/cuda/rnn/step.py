"""One step in place, put together from what there is.

That is a plan of one step, the forward kernel of the cell, and a copy of the new states over the
old ones where a row is valid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ...checks import TableFunction
from ..masks import fill, plan_steps
from ..products import use_products
from ..runtime.checks import checked
from ..runtime.device import DeviceArray, empty
from ..runtime.kernel import Kernel, family, int64, kernel, number, pointer, span
from .gru import gru_fwd
from .lstm import lstm_fwd
from .simple_rnn import rnn_fwd


@checked
def lstm_step(call: Any) -> None:
    """See `spec`. Memory of the states' size is taken from the device, and given back."""
    _step(lstm_fwd, call, (call.h, call.c), (1, 1, 4))


@checked
def gru_step(call: Any) -> None:
    """See `spec` and `lstm_step`."""
    _step(gru_fwd, call, (call.h,), (1, 4))


@checked
def rnn_step(call: Any) -> None:
    """See `spec` and `lstm_step`."""
    _step(rnn_fwd, call, (call.h,), (1,))


def _step(
    forward: TableFunction, call: Any, states: tuple[DeviceArray, ...], saved: tuple[int, ...]
) -> None:
    """`saved` are the widths, in H, of what the forward kernel could save and here does not."""
    x, valid = call.x, call.valid
    (rows, features), units, device = x.shape, states[0].shape[1], x.device
    if not valid.size:
        valid = empty(rows, np.bool_, device)
        fill(valid, 1)
    plan = tuple(empty(n, np.int64, device) for n in (rows + 1, rows, rows))
    plan_steps.unchecked(*plan, _with_shape(valid, (rows, 1)))
    new = [empty(state.shape, state.dtype, device) for state in states]
    settings = call[call._fields.index("packed") + 1 : -1]  # all but the number of threads
    with use_products(None):  # `steps` is longer than the plan
        forward.unchecked(
            empty((rows, 0, units), x.dtype, device),
            *new,
            *(empty((0, width * units), x.dtype, device) for width in saved),
            _with_shape(x, (rows, 1, features)),
            *plan,
            call.packed,
            *states,
            *settings,
            *(False, False, call.threads),
        )
    for state, after in zip(states, new, strict=True):
        _writer(state.dtype).launch(*span(state.size), *(state, after, *plan[:2], rows, units))


def _with_shape(array: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    return DeviceArray(array.address, shape, array.dtype, array.device, array.flags, array)


@family("f4", "f8")
def _writer(dtype: Any) -> Kernel:
    reals, ints = pointer(number(dtype)), pointer(int64)

    @kernel(reals, reals, ints, ints, int64, int64)
    def write(state: Any, after: Any, offsets: Any, steps: Any, rows: int, units: int) -> None:
        total = offsets[rows] * units
        i = cuda.grid(1)
        while i < total:
            at = steps[i // units] * units + i % units
            state[at] = after[at]
            i += cuda.gridsize(1)

    return write
