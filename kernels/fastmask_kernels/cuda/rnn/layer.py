"""From the arguments of a forward kernel to launches: project, run the time loop, spread."""

from __future__ import annotations

from typing import Any

from .. import products
from ..gemm import Matrix, matrix
from ..runtime.device import DeviceArray, empty
from . import steps
from .cells import cell as cell_of
from .emit import Kind
from .launching import run_loop
from .layout import layout


def run_layer(kind: Kind, call: Any) -> None:
    """Run a forward kernel of the table.

    Args:
        kind: of the cell.
        call: its arguments.
    """
    x, packed, out, h_steps = call.x, call.packed, call.out, call.h_steps
    first: tuple[DeviceArray, ...] = (call.h_first,)
    last: tuple[DeviceArray, ...] = (call.h_last,)
    c_steps: DeviceArray | None = None
    gates = getattr(call, "gates", None)
    if hasattr(call, "c_first"):
        first, last, c_steps = (*first, call.c_first), (*last, call.c_last), call.c_steps
    (batch, time, features), units, dtype = x.shape, first[0].shape[1], x.dtype
    offsets, places, order = call.offsets, call.steps, call.order
    cell, parts = cell_of(kind, dtype), layout(kind, features, units, dtype)
    parts.require(packed)
    save_gates = gates is not None and gates.size > 0
    rows = min(places.size, batch * time)
    z_columns = (cell.saved if save_gates else cell.inputs) * units
    z = gates if gates is not None and save_gates else empty((rows, z_columns), dtype, x.device)
    source = None if products.are_all(places, batch * time) else places
    products.rows(
        Matrix(z, 0, z_columns),
        products.Rows(matrix(x), source),
        Matrix(packed, 0, cell.inputs * units),
        offsets,
        rows,
        cell.inputs * units,
        features,
        bias=Matrix(packed, parts.bias, 0),
    )
    h_rows, h_stride = (h_steps, units) if h_steps.size else (z, z_columns)
    saves = (
        bool(h_steps.size or out.size),
        c_steps is not None and c_steps.size > 0,
        save_gates,
    )
    run_loop(
        *(False, kind, parts.spread, saves, batch),
        *(h_rows, h_stride, h_rows if c_steps is None else c_steps, z, z_columns),
        *(packed, parts.recurrent, packed, parts.bias + (cell.saved - 1) * units),
        *(offsets, order, first[0], first[-1], last[0], last[-1]),
        sizes=(batch, units, call.reverse),
    )
    steps.spread(out, h_rows, h_stride, offsets, places, call.reverse, call.zero_masked)
