"""From the arguments of a backward kernel to launches.

The time loop of `backward` turns gates into the gradients dZ of their sums. What follows waits
for nothing and is a product over all valid steps each:

    dkernel = X^T dZ    drecurrent_kernel = H_before^T dZ    dbias = sum of dZ    dX = dZ W^T

Gates stand in the order in which they are saved, weights in Keras's; a piece (first gate, first
column of weights, number of gates) is where both agree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from ... import cells
from ...cells import Cell
from .. import gemm, products
from ..gemm import Matrix, matrix
from ..products import Pieces, Rows
from ..runtime.device import DeviceArray, empty
from ..runtime.kernel import Kernel, family, int64, kernel, number, pointer, span
from . import steps
from .cells import cell as cell_of
from .emit import Kind
from .launching import run_loop
from .layout import spread_of
from .packing import pack_spread

_KERNEL: dict[Cell, Pieces] = {
    cells.lstm: ((0, 0, 4),),
    cells.gru: ((1, 0, 2), (0, 2, 1)),
    cells.gru_reset_before: ((1, 0, 2), (0, 2, 1)),
    cells.simple_rnn: ((0, 0, 1),),
}
# Those of the recurrent kernel, by what they are multiplied with: h, or the saved r * h.
_FROM_H: dict[Cell, Pieces] = _KERNEL | {
    cells.gru: ((1, 0, 3),),
    cells.gru_reset_before: ((1, 0, 2),),
}
_FROM_Q: dict[Cell, Pieces] = dict.fromkeys(_KERNEL, ()) | {cells.gru_reset_before: ((0, 2, 1),)}
_GRUS = cells.gru, cells.gru_reset_before
_Q = 3  # the gate where r * h is, or with `reset_after` h U + b


class Weights(NamedTuple):
    """What the sums of gates are made with."""

    kernel: DeviceArray  # (F, G * H)
    recurrent_kernel: DeviceArray  # (H, G * H)
    bias: DeviceArray  # (G * H,), or of a GRU (2, 3H)


class Steps(NamedTuple):
    """What a backward pass reads at every valid step."""

    x: DeviceArray  # (B, T, F)
    offsets: DeviceArray
    places: DeviceArray  # the plan's steps
    order: DeviceArray
    h_first: DeviceArray  # (B, H)
    h_steps: DeviceArray  # (P, H)
    before: DeviceArray  # (P,) see `steps.rows_before`
    rows: int  # a bound of the number of valid steps
    inputs: Rows  # (P, F) of x
    states: Rows  # (P, H) of h before each step
    full: bool  # all steps are known to be valid


def run_gradients(kind: Kind, call: Any) -> None:
    """Run a backward kernel of the table.

    Args:
        kind: of the cell.
        call: its arguments.
    """
    x, gates, dout, reverse = call.x, call.gates, call.dout, call.reverse
    first, states = call.h_first, call.h_steps
    dfirst: tuple[DeviceArray, ...] = (call.dh_first,)
    dlast: tuple[DeviceArray, ...] = (call.dh_last,)
    if hasattr(call, "c_first"):
        first, states = call.c_first, call.c_steps
        dfirst, dlast = (*dfirst, call.dc_first), (*dlast, call.dc_last)
    weights = Weights(call.kernel, call.recurrent_kernel, call.bias)
    dweights = Weights(call.dkernel, call.drecurrent_kernel, call.dbias)
    units = first.shape[1]
    plan = call.offsets, call.steps, call.order
    walk = _steps_of(x, plan, call.h_first, call.h_steps, reverse)
    if not getattr(call, "gates_saved", True):  # a SimpleRNN's output alone gives the derivative
        _compute_gates(kind, gates, walk, weights, units)
    dy = empty((walk.rows if dout.size else 0, units), x.dtype, x.device)
    steps.fold(dy, dout, walk.offsets, walk.places, reverse, call.zero_masked)
    _run_loop(kind, gates, dy, walk, weights, dfirst, dlast, first, states, reverse)
    _finish(kind, call.dx, dweights, gates, walk, weights, units)


def _steps_of(
    x: DeviceArray,
    plan: tuple[DeviceArray, DeviceArray, DeviceArray],
    h_first: DeviceArray,
    h_steps: DeviceArray,
    reverse: bool,
) -> Steps:
    (batch, time, features), units, (offsets, places, _) = x.shape, h_first.shape[1], plan
    rows = min(places.size, batch * time)
    before = empty(rows, np.int64, x.device)
    steps.rows_before(before, offsets, batch, reverse)
    full = products.are_all(places, batch * time)
    inputs = Rows(matrix(x), None if full else places)
    inputs = products.gathered(inputs, offsets, rows, features)
    states = Rows(matrix(h_steps), before, h_first)
    states = products.gathered(states, offsets, rows, units)
    return Steps(x, *plan, h_first, h_steps, before, rows, inputs, states, full)


def _run_loop(
    kind: Kind,
    gates: DeviceArray,
    dy: DeviceArray,
    walk: Steps,
    weights: Weights,
    dfirst: tuple[DeviceArray, ...],
    dlast: tuple[DeviceArray, ...],
    first: DeviceArray,
    states: DeviceArray,
    reverse: bool,
) -> None:
    batch, units = first.shape
    dtype, device = gates.dtype, gates.device
    spread = spread_of(kind, units, dtype, True)
    packed = empty(spread.size, dtype, device)
    pieces = [
        (((gate + 2) % 3 if kind.cell in _GRUS else gate) * units, count)
        for gate, count in cell_of(kind, dtype).returns
    ]
    pack_spread(packed, 0, spread, weights.recurrent_kernel, pieces, True)
    run_loop(
        *(kind, spread, dy.size > 0, batch),
        *(dfirst[0], dfirst[-1], gates, dy, states, packed, 0, walk.offsets, walk.order),
        *(dlast[0], dlast[-1], first),
        sizes=(batch, units, reverse),
    )


def _finish(
    kind: Kind,
    dx: DeviceArray,
    dweights: Weights,
    gates: DeviceArray,
    walk: Steps,
    weights: Weights,
    units: int,
) -> None:
    """The products over all valid steps."""
    stride, columns, features = gates.shape[1], weights.kernel.shape[1], walk.x.shape[2]
    plan, rows = walk.offsets, walk.rows
    if dx.size and not walk.full:
        steps.fill_zeros(dx)
    dz, pieces = products.arranged(matrix(gates), _KERNEL[kind.cell], plan, rows, units)
    for gate, column, count in pieces:
        part, width = dz.columns(gate * units), count * units
        dkernel = Matrix(dweights.kernel, column * units, columns)
        products.over_rows(dkernel, walk.inputs, part, plan, features, width, rows)
        dbias = Matrix(dweights.bias, column * units, columns)
        gemm.column_sums(dbias, part.matrix, plan, width, rows)
        if dx.size:
            products.rows(
                *(matrix(dx), part, Matrix(weights.kernel, column * units, columns), plan),
                rows,
                features,
                width,
                target=None if walk.full else walk.places,
                transposed=True,
                add=(gate, column, count) != pieces[0],
            )
    reset = Rows(Matrix(gates, _Q * units, stride))  # r * h
    for factor, from_it in ((walk.states, _FROM_H[kind.cell]), (reset, _FROM_Q[kind.cell])):
        dz, pieces = products.arranged(matrix(gates), from_it, plan, rows, units)
        for gate, column, count in pieces:
            part, width = dz.columns(gate * units), count * units
            drecurrent = Matrix(dweights.recurrent_kernel, column * units, columns)
            products.over_rows(drecurrent, factor, part, plan, units, width, rows)
            if kind.cell in _GRUS:  # row 1 of the bias belongs to the state
                dbias = Matrix(dweights.bias, (3 + column) * units, columns)
                gemm.column_sums(dbias, part.matrix, plan, width, rows)


def _compute_gates(
    kind: Kind, gates: DeviceArray, walk: Steps, weights: Weights, units: int
) -> None:
    """The activated gates of all valid steps, from the states before them."""
    stride, columns, features = gates.shape[1], weights.kernel.shape[1], walk.x.shape[2]
    plan, rows = walk.offsets, walk.rows
    gru = kind.cell in _GRUS
    for gate, column, count in _KERNEL[kind.cell]:
        products.rows(
            Matrix(gates, gate * units, stride),
            *(walk.inputs, Matrix(weights.kernel, column * units, columns), plan),
            rows,
            count * units,
            features,
            bias=Matrix(weights.bias, column * units, columns),
        )
    pieces: Pieces = ((1, 0, 2),) if gru else _FROM_H[kind.cell]
    if kind.cell == cells.gru:
        pieces = (*pieces, (_Q, 2, 1))
    for gate, column, count in pieces:
        products.rows(
            Matrix(gates, gate * units, stride),
            *(walk.states, Matrix(weights.recurrent_kernel, column * units, columns), plan),
            rows,
            count * units,
            units,
            bias=Matrix(weights.bias, (3 + column) * units, columns) if gru else None,
            add=gate != _Q,
        )
    _run_activation(kind, gates, walk, units, 0)
    if kind.cell == cells.gru_reset_before:
        products.rows(
            Matrix(gates, 0, stride),
            *(
                Rows(Matrix(gates, _Q * units, stride)),
                Matrix(weights.recurrent_kernel, 2 * units, columns),
            ),
            plan,
            rows,
            units,
            units,
            bias=Matrix(weights.bias, 5 * units, columns),
            add=True,
        )
        _run_activation(kind, gates, walk, units, 1)


def _run_activation(kind: Kind, gates: DeviceArray, walk: Steps, units: int, part: int) -> None:
    size = walk.rows * units
    _activation(kind, gates.dtype, part).launch(
        *span(size),
        *(gates, walk.before, walk.h_first, walk.h_steps, walk.offsets),
        *(walk.offsets.size - 1, units),
    )


@family()
def _activation(kind: Kind, dtype: Any, part: int) -> Kernel:
    """Sums become gates; without `reset_after` in two parts, r * h and n."""
    cell = cell_of(kind, dtype)
    step, reset = cell.step, cell.reset
    two = len(cell.rounds) == 2
    resets, updates = two and part == 0, two and part == 1
    real, zero = number(dtype), dtype.type(0)
    reals, ints = pointer(real), pointer(int64)

    @kernel(reals, ints, reals, reals, ints, int64, int64)
    def run(
        gates: Any, before: Any, h_first: Any, h_steps: Any, offsets: Any, last: int, units: int
    ) -> None:
        i = cuda.grid(1)
        while i < offsets[last] * units:
            p, unit = i // units, i % units
            at = p * 4 * units + unit
            g0, g1, g2, g3 = (
                gates[at],
                gates[at + units],
                gates[at + 2 * units],
                gates[at + 3 * units],
            )
            if resets:
                q = before[p]
                h = h_first[(-1 - q) * units + unit] if q < 0 else h_steps[q * units + unit]
                g3, g1, g2 = reset(zero, zero, g0, g1, g2, g3, h)
            elif updates:
                _h, _c, g0, g1, g2, g3 = step(zero, g1, g2, g3, g0, g1, g2, g3, zero, zero)
            else:
                _h, _c, g0, g1, g2, g3 = step(zero, zero, zero, zero, g0, g1, g2, g3, zero, zero)
            gates[at] = g0
            gates[at + units] = g1
            gates[at + 2 * units] = g2
            gates[at + 3 * units] = g3
            i += cuda.gridsize(1)

    return run
