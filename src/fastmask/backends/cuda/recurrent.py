"""Recurrent layers on a GPU: what `fastmask.backends.recurrent` does on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..._typing import Array
from ...masks.mask import Mask
from . import arrays as _arrays
from .masks import plan_for, zeroed_rows


def pack(
    cell: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    settings: tuple[Any, ...],
    beside: Any = None,
) -> Any:
    """See `fastmask.backends.recurrent.pack`; arrays may be views.

    With `beside`, the inputs, they are weights that a layer keeps: the packed ones then are in
    memory of fastmask's own, and ready for any stream.
    """
    kernel, recurrent_kernel = _view(kernel), _view(recurrent_kernel)
    columns, dtype, device = kernel.shape[1], kernel.dtype, kernel.device
    flags: tuple[Any, ...] = ()
    rows = 1
    if cell.prefix == "gru":
        flags, rows = settings[-1:], 2
    if bias is None:
        bias = _arrays.zeros((rows, columns), dtype, device)
    elif bias.size < rows * columns:  # row 1, that of the state, does not exist: it gets zeros
        given, bias = _view(bias), _arrays.empty((rows, columns), dtype, kernel)
        _arrays.gather(bias, _arrays.part(given, (1, columns)), _arrays.counting(2, device))
    with _arrays.launching(kernel if beside is None else beside) as kernels:
        size = getattr(kernels, f"{cell.prefix}_packed_size")(
            len(kernel), len(recurrent_kernel), dtype
        )
        if beside is None:
            packed = _arrays.empty((size,), dtype, kernel)
        else:
            packed = _arrays.kept_empty((size,), dtype, device)
        bias = _arrays.part(_view(bias), (rows, columns) if rows == 2 else (columns,))
        getattr(kernels, f"{cell.prefix}_pack")(packed, kernel, recurrent_kernel, bias, *flags)
        if beside is not None:
            _arrays.wait()
    return packed


def forward(
    cell: Any,
    x: Any,
    mask: Mask | None,
    packed: Any,
    first: Sequence[Any],
    settings: tuple[Any, ...],
    return_sequences: bool,
    go_backwards: bool,
    zero_output_for_mask: bool,
) -> tuple[Array, list[Array]]:
    """See `backends.recurrent.forward`; arrays are views, and outputs of the kind of `x`."""
    x, first = _view(x), list(map(_view, first))
    batch, time, _ = x.shape
    units, dtype = first[0].shape[1], x.dtype
    plan = plan_for(mask, batch, time, x.device)
    out = _arrays.empty((batch, time if return_sequences else 0, units), dtype, x)
    last = [_arrays.empty((batch, units), dtype, x) for _ in first]
    nothing = [_arrays.part(out, (0, width * units)) for width in cell.saved]
    with _arrays.launching(x) as kernels:
        getattr(kernels, f"{cell.prefix}_fwd").unchecked(
            *(out, *last, *nothing, x, plan.offsets, plan.steps, plan.order, packed, *first),
            *(*settings, go_backwards, zero_output_for_mask, 1),
        )
        if not return_sequences:
            step = (0 if go_backwards else -1) if zero_output_for_mask and time else None
            out = _arrays.empty((batch, units), dtype, x)
            _arrays.gather(out, last[0], zeroed_rows(mask, plan, x.device, step))
    return out.owner, [state.owner for state in last]


def step(
    cell: Any, x: Any, packed: Any, states: Sequence[Any], settings: tuple[Any, ...]
) -> list[Array]:
    """See `fastmask.backends.recurrent.step`; arrays are views, and states of the kind of `x`."""
    batch, features = x.shape
    now = _arrays.part(_view(x), (batch, 1, features))
    return forward(cell, now, None, packed, states, settings, True, False, False)[1]


def placed(states: list[Any], given: bool, beside: dict[str, Any]) -> list[Any]:
    """See `fastmask.backends.recurrent.placed`; some arrays are views."""
    _arrays.together(list(beside.items()))
    if given:
        return states
    device = _view(next(iter(beside.values()))).device
    return [_arrays.zeros(state.shape, state.dtype, device) for state in states]


def _view(array: Any) -> Any:
    return _arrays.view_of(array, "array")
