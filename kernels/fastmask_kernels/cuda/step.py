"""One step in place, put together from what there is.

That is a plan of one step, the forward kernel of the cell, and a copy of the new states over the
old ones where a row is valid. The plan comes from a running count of the flags; unlike
`plan_steps` it compares no rows with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from . import _kernel
from ._device import DeviceArray, empty
from ._door import checked
from ._kernel import Kernel, family, int64, kernel, number, pointer, span, threads_for, uint8
from .gru import gru_fwd
from .lstm import lstm_fwd
from .masks import _count, _fill, _scan
from .rnn import rnn_fwd


@checked
def lstm_step(
    h: DeviceArray,
    c: DeviceArray,
    x: DeviceArray,
    valid: DeviceArray,
    packed: DeviceArray,
    activation: str,
    recurrent_activation: str,
    threads: int,
) -> None:
    """See `spec`. Memory of the states' size is taken from the device, and given back."""
    settings = activation, recurrent_activation
    _step(lstm_fwd, (h, c), (1, 1, 4), x, valid, packed, settings, threads)


@checked
def gru_step(
    h: DeviceArray,
    x: DeviceArray,
    valid: DeviceArray,
    packed: DeviceArray,
    activation: str,
    recurrent_activation: str,
    reset_after: bool,
    threads: int,
) -> None:
    """See `spec` and `lstm_step`."""
    settings = activation, recurrent_activation, reset_after
    _step(gru_fwd, (h,), (1, 4), x, valid, packed, settings, threads)


@checked
def rnn_step(
    h: DeviceArray,
    x: DeviceArray,
    valid: DeviceArray,
    packed: DeviceArray,
    activation: str,
    threads: int,
) -> None:
    """See `spec` and `lstm_step`."""
    _step(rnn_fwd, (h,), (1,), x, valid, packed, (activation,), threads)


def _step(
    forward: Callable[..., None],
    states: tuple[DeviceArray, ...],
    saved: tuple[int, ...],
    x: DeviceArray,
    valid: DeviceArray,
    packed: DeviceArray,
    settings: tuple[Any, ...],
    threads: int,
) -> None:
    """`saved` are the widths, in H, of what the forward kernel could save and here does not."""
    (rows, features), units, device = x.shape, states[0].shape[1], x.device
    if not valid.size:
        valid = empty(rows, np.bool_, device)
        _fill(valid, 1)
    plan = _plan(valid)
    new = [empty(state.shape, state.dtype, device) for state in states]
    forward.unchecked(  # type: ignore[attr-defined]
        empty((rows, 0, units), x.dtype, device),
        *new,
        *(empty((0, width * units), x.dtype, device) for width in saved),
        DeviceArray(x.address, (rows, 1, features), x.dtype, device, x.flags, x),
        *plan,
        packed,
        *states,
        *settings,
        *(False, False, threads),
    )
    for state, after in zip(states, new, strict=True):
        _writer(state.dtype).launch(*span(state.size), *(state, after, *plan[:2], rows, units))


def _plan(valid: DeviceArray) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """offsets, steps, order of flags as a mask of one step."""
    rows = valid.size
    offsets, steps, order = (empty(n, np.int64, valid.device) for n in (rows + 1, rows, rows))
    _count().launch(*span(rows * _kernel.WARP), offsets, valid, rows, 1)
    _scan().launch(1, threads_for(rows, _kernel.MOST_THREADS), offsets, rows)
    _place().launch(*span(rows), steps, order, offsets, valid, rows)
    return offsets, steps, order


@family(())
def _place() -> Kernel:
    ints = pointer(int64)

    @kernel(ints, ints, ints, pointer(uint8), int64)
    def place(steps: Any, order: Any, offsets: Any, valid: Any, rows: int) -> None:
        b = cuda.grid(1)
        while b < rows:
            before = offsets[b]
            if valid[b]:
                steps[before] = b
                order[before] = b
            else:
                order[offsets[rows] + b - before] = b
            b += cuda.gridsize(1)

    return place


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
