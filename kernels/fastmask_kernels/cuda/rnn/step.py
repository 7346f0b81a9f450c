"""One step in place, built from existing kernels.

They are a plan of one step, the forward kernel of the cell, and a copy of the new states over the
old ones where a row is valid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ...checks import TableFunction
from ..masks import fill, plan_steps
from ..products import use_products
from ..runtime.device import DeviceArray, empty
from ..runtime.kernel import Kernel, family, int64, kernel, number, pointer, span


def run_step(forward: TableFunction, call: Any, states: int, saved: tuple[int, ...]) -> None:
    """Advance the states by one step.

    Args:
        forward: the cell's forward kernel.
        call: arguments of the step kernel.
        states: number of states.
        saved: widths, in H, of what the forward kernel can save but does not save here.
    """
    old: tuple[DeviceArray, ...] = call[:states]
    x, valid = call.x, call.valid
    (rows, features), units, device = x.shape, old[0].shape[1], x.device
    if not valid.size:
        valid = empty(rows, np.bool_, device)
        fill(valid, 1)
    plan = tuple(empty(n, np.int64, device) for n in (rows + 1, rows, rows))
    plan_steps.unchecked(*plan, _with_shape(valid, (rows, 1)))
    new = [empty(state.shape, state.dtype, device) for state in old]
    settings = call[call._fields.index("packed") + 1 : -1]  # all but the number of threads
    with use_products(None):  # `steps` is longer than the plan
        forward.unchecked(
            empty((rows, 0, units), x.dtype, device),
            *new,
            *(empty((0, width * units), x.dtype, device) for width in saved),
            _with_shape(x, (rows, 1, features)),
            *plan,
            call.packed,
            *old,
            *settings,
            *(False, False, call.threads),
        )
    for state, after in zip(old, new, strict=True):
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
