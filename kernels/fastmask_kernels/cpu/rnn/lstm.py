"""LSTM over the valid steps of a batch; `forward` says how."""

from __future__ import annotations

from typing import Any

from ...checks import checked
from ..gemm import Tiles
from ..jit import inlined
from ..packing import Array, Layout, pack, packed_size
from ..product import product
from ..simd import lanes_of
from .forward import Cell
from .layer import layer_kernel, run_layer
from .lstm_cell import GATES, lstm_cell

_LAYOUT = Layout(bias=GATES, inputs=GATES, recurrent=GATES, strip=2)
_TILES = Tiles(strip=2, row=GATES, widths=(2,), few_widths=(2, GATES))
_multiply = product(_TILES)


@inlined
def _operand(net: Any, part: int, old: int, count: int, apart: int) -> Any:
    """h, with all gates."""
    return net.h, old, GATES * apart // lanes_of(net.h), 0, 0


@inlined
def _update(
    net: Any,
    index: Any,
    part: int,
    left: int,
    old: int,
    new: int,
    count: int,
    apart: int,
    rows: int,
    z: Any,
    z_start: int,
) -> None:
    """The cell."""
    lstm_cell(
        rows,
        apart,
        z,
        z_start,
        net.h,
        new + left,
        net.c,
        left,
        index,
        net.activation,
        net.recurrent_activation,
        net.save_gates,
    )


_CELL = Cell(
    name="lstm",
    layout=_LAYOUT,
    tiles=_TILES,
    multiply=_multiply,
    panel=1,
    rounds=1,
    operand=_operand,
    update=_update,
)
_KERNEL = layer_kernel(_CELL)


def cache_folder() -> str | None:
    """Where compiled kernels are kept between processes; None where no folder can be written."""
    return _KERNEL.compiled.cache_folder


def lstm_packed_size(features: int, units: int, dtype: Any) -> int:
    """Length of `packed`."""
    return packed_size(_LAYOUT, features, units, dtype)


@checked
def lstm_pack(packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """See `spec`."""
    pack(packed, _LAYOUT, kernel, recurrent_kernel, bias)


@checked
def lstm_fwd(call: Any) -> None:
    """See `spec`. Fastest when `packed` begins on a cache line (see `memory`)."""
    run_layer(_KERNEL, call)
