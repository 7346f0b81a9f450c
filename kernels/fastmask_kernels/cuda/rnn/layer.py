"""The launches of a forward kernel: project the inputs, run the time loop, spread the outputs."""

from __future__ import annotations

from typing import Any

from .. import products
from ..gemm import Matrix, matrix
from ..runtime.device import empty
from . import steps
from .columns import row_blocks
from .emit import Kind
from .forward import time_loop
from .forward_cells import Call, Saves
from .launching import launch_loop
from .layout import layout
from .loop_groups import Layer
from .mma import Fragments


def run_layer(kind: Kind, call: Any) -> None:
    """Run a forward kernel of the table.

    Args:
        kind: the cell and its activations.
        call: its arguments.
    """
    cell, x, packed, out = kind.cell, call.x, call.packed, call.out
    first, last, saved_states = (
        tuple(getattr(call, name + ending) for name in cell.states)
        for ending in ("_first", "_last", "_steps")
    )
    gates = getattr(call, "gates", None)
    (batch, time, features), units, dtype = x.shape, first[0].shape[1], x.dtype
    offsets, places, order = call.offsets, call.steps, call.order
    parts = layout(kind, features, units, dtype)
    parts.require(packed)
    save_gates = gates is not None and gates.size > 0
    rows = min(places.size, batch * time)
    z_columns, width = row_blocks(cell, save_gates) * units, len(cell.inputs) * units
    z = gates if gates is not None and save_gates else empty((rows, z_columns), dtype, x.device)
    products.rows(
        Matrix(z, 0, z_columns),
        products.Rows(matrix(x), None if products.are_all(places, batch * time) else places),
        *(Matrix(packed, 0, width), offsets, rows, width, features),
        bias=Matrix(packed, parts.bias, 0),
    )
    separate = saved_states[0].size > 0
    h_rows = saved_states[0] if separate else z
    saves = Saves(
        separate or out.size > 0, any(s.size for s in saved_states[1:]), save_gates, separate
    )
    fixed = bool(call.reverse) if isinstance(parts.spread.tiles[0], Fragments) else None
    launch_loop(
        time_loop(kind, parts.spread.tiles, dtype, saves, fixed),
        parts.spread,
        Call(z, (h_rows, *saved_states[1:]), packed, parts.bias + width, first, last),
        Layer(packed, parts.recurrent, offsets, order, batch, units, z_columns, call.reverse),
    )
    stride = units if separate else z_columns
    steps.spread(out, h_rows, stride, offsets, places, call.reverse, call.zero_masked)
