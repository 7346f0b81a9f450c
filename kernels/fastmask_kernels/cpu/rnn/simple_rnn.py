"""SimpleRNN over the valid steps of a batch; `forward` says how.

A unit has one sum, so that a panel is several vectors of units side by side.
"""

from __future__ import annotations

from typing import Any

from ...checks import checked
from ..gemm import Tiles
from ..jit import inlined
from ..packing import Array, Layout, pack, packed_size
from ..product import product
from .forward import Cell
from .layer import layer_kernel, run_layer
from .simple_rnn_cell import PANEL, rnn_cell

_LAYOUT = Layout(bias=1, inputs=1, recurrent=1, strip=1)
_TILES = Tiles(strip=1, row=PANEL, widths=tuple(range(1, PANEL + 1)))
_multiply = product(_TILES)


@inlined
def _operand(net: Any, part: int, old: int, count: int, apart: int) -> Any:
    """h, with the units of a panel."""
    return net.h, old, count, 0, 0


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
    rnn_cell(
        count,
        rows,
        z,
        z_start,
        net.h,
        new + left,
        index,
        net.activation,
    )


_CELL = Cell(
    name="rnn",
    layout=_LAYOUT,
    tiles=_TILES,
    multiply=_multiply,
    panel=PANEL,
    rounds=1,
    operand=_operand,
    update=_update,
)
_KERNEL = layer_kernel(_CELL)


def rnn_packed_size(features: int, units: int, dtype: Any) -> int:
    """Length of `packed`."""
    return packed_size(_LAYOUT, features, units, dtype)


@checked
def rnn_pack(packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> None:
    """See `spec`."""
    pack(packed, _LAYOUT, kernel, recurrent_kernel, bias)


@checked
def rnn_fwd(call: Any) -> None:
    """See `spec`. Fastest when `packed` begins on a cache line (see `memory`)."""
    run_layer(_KERNEL, call)
