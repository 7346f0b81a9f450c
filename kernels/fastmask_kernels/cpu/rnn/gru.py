"""GRU over the valid steps of a batch; `forward` says how.

Sums of a unit stand in z as n, z, r, q (see `spec`). The kernel has columns for the first
three, the recurrent kernel for the last three with `reset_after`; without it its last column
belongs to n, and meets r * h once that is known for all units: a second round.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...checks import checked
from ..gemm import Tiles
from ..jit import inlined
from ..packing import Array, Layout, pack, packed_size
from ..product import product
from .forward import Cell
from .gru_cell import SUMS, gru_reset, gru_update
from .layer import layer_kernel, run_layer

_LAYOUT = Layout(bias=SUMS, inputs=3, recurrent=3, strip=3)
_TILES = Tiles(strip=3, row=SUMS, widths=(3,))
_TILES_OF_ROUNDS = _TILES._replace(widths=(1, 2, 3))
_multiply = product(_TILES)
_multiply_in_rounds = product(_TILES_OF_ROUNDS)
_last_part = gru_update(reset_after=True)
_last_part_in_rounds = gru_update(reset_after=False)


@inlined
def _operand(net: Any, part: int, old: int, count: int, apart: int) -> Any:
    """h, with z, r, q."""
    return net.h, old, np.int64(3), 0, 1


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
    _last_part(
        rows,
        z,
        z_start,
        net.h,
        old + left,
        new + left,
        index,
        net.activation,
        net.recurrent_activation,
        net.save_gates,
    )


@inlined
def _operand_in_rounds(net: Any, part: int, old: int, count: int, apart: int) -> Any:
    """h, with z and r; then what r left of h, with n."""
    if part == 0:
        return net.h, old, np.int64(2), np.int64(0), np.int64(1)
    return net.c, np.int64(0), np.int64(1), np.int64(2), np.int64(0)


@inlined
def _update_in_rounds(
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
    """First r * h, then the rest of the cell."""
    if part == 0:
        gru_reset(
            rows,
            z,
            z_start,
            net.h,
            old + left,
            net.c,
            left,
            index,
            net.recurrent_activation,
            net.save_gates,
        )
    else:
        _last_part_in_rounds(
            rows,
            z,
            z_start,
            net.h,
            old + left,
            new + left,
            index,
            net.activation,
            net.recurrent_activation,
            net.save_gates,
        )


_CELL = Cell(
    name="gru",
    layout=_LAYOUT,
    tiles=_TILES,
    multiply=_multiply,
    panel=1,
    rounds=1,
    operand=_operand,
    update=_update,
)
_CELL_IN_ROUNDS = _CELL._replace(
    tiles=_TILES_OF_ROUNDS,
    multiply=_multiply_in_rounds,
    rounds=2,
    operand=_operand_in_rounds,
    update=_update_in_rounds,
)
_KERNEL = layer_kernel(_CELL)
_KERNEL_IN_ROUNDS = layer_kernel(_CELL_IN_ROUNDS)


def gru_packed_size(features: int, units: int, dtype: Any) -> int:
    """Length of `packed`."""
    return packed_size(_LAYOUT, features, units, dtype)


@checked
def gru_pack(
    packed: Array, kernel: Array, recurrent_kernel: Array, bias: Array, reset_after: bool
) -> None:
    """See `spec`."""
    z_r_n = bias.reshape(2, 3, -1)
    z_r, n = z_r_n[0, :2] + z_r_n[1, :2], z_r_n[:, 2]
    n, q = (n[0], n[1]) if reset_after else (n[0] + n[1], np.zeros_like(n[0]))
    first = 2 * len(recurrent_kernel)
    pack(
        packed,
        _LAYOUT,
        np.hstack([kernel[:, first:], kernel[:, :first]]),
        recurrent_kernel,
        np.concatenate([n, *z_r, q]),
    )


@checked
def gru_fwd(call: Any) -> None:
    """See `spec`. Fastest when `packed` begins on a cache line (see `memory`)."""
    run_layer(_KERNEL if call.reset_after else _KERNEL_IN_ROUNDS, call)
