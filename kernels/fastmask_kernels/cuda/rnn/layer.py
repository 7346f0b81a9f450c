"""From the arguments of a forward kernel to launches: project, run the time loop, spread."""

from __future__ import annotations

from .. import products
from ..gemm import Matrix, matrix
from ..runtime.device import DeviceArray, empty
from . import steps
from .cells import Kind
from .cells import cell as cell_of
from .launching import run_loop
from .layout import layout


def run_layer(
    kind: Kind,
    out: DeviceArray,
    last: tuple[DeviceArray, ...],
    saved: tuple[DeviceArray, DeviceArray | None, DeviceArray | None],
    x: DeviceArray,
    plan: tuple[DeviceArray, DeviceArray, DeviceArray],
    packed: DeviceArray,
    first: tuple[DeviceArray, ...],
    reverse: bool,
    zero_masked: bool,
) -> None:
    """Run a forward kernel of the table.

    Args:
        kind: of the cell.
        out: (B, S, H).
        last: h_last and, of an LSTM, c_last, each (B, H).
        saved: h_steps, c_steps and gates, None where the cell has no such thing.
        x: (B, T, F).
        plan: offsets, steps, order.
        packed: what the cell's packing kernel wrote.
        first: h_first and, of an LSTM, c_first.
        reverse: walk from the end.
        zero_masked: masked steps of `out` are zeros.
    """
    (batch, time, features), units, dtype = x.shape, first[0].shape[1], x.dtype
    offsets, places, order = plan
    cell, parts = cell_of(kind, dtype), layout(kind, features, units, dtype)
    parts.require(packed)
    h_steps, c_steps, gates = saved
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
        sizes=(batch, units, reverse),
    )
    steps.spread(out, h_rows, h_stride, offsets, places, reverse, zero_masked)
