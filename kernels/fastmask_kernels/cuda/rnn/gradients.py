"""The launches of a backward kernel.

The time loop of `backward` turns what forward saved into the gradients dZ of all sums. The rest
does not depend on the order of steps; each is one product over all valid steps:

    dkernel = X^T dZ    drecurrent_kernel = H_before^T dZ    dbias = sum of dZ    dX = dZ W^T

For a sum that is called on a value, that value takes the place of h. Gradients are in the order of
z, weights in the caller's; a piece (first block, first block of weights, number of blocks) is a run
on which both agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from ...cells import Cell
from ...formula import Symbol
from .. import gemm, products
from ..gemm import Matrix, matrix
from ..masks import fill
from ..products import Pieces, Rows
from ..runtime.device import DeviceArray, empty
from ..runtime.kernel import Kernel, family, int64, kernel, number, pointer, pointers, span
from . import steps
from .backward import gradient_loop
from .backward_cells import Call, Variant, blocks_of_products
from .columns import called, of_h, runs
from .emit import Body, Kind
from .launching import launch_loop
from .layout import spread_of
from .loop_groups import Layer
from .mma import Fragments
from .packing import copy_block, in_order, pack_spread


class Weights(NamedTuple):
    """The weights of the sums, or their gradients."""

    kernel: DeviceArray  # (F, inputs * H)
    recurrent_kernel: DeviceArray  # (H, recurrents * H)
    bias: DeviceArray  # (sums * H,)
    vectors: tuple[DeviceArray, ...]  # (H,) each


class Steps(NamedTuple):
    """What a backward pass reads at every valid step."""

    offsets: DeviceArray
    places: DeviceArray  # the plan's steps
    order: DeviceArray
    first: tuple[DeviceArray, ...]  # (B, H) of each state
    steps: tuple[DeviceArray, ...]  # (P, H) of each state
    before: DeviceArray  # (P,) see `steps.rows_before`
    rows: int  # an upper bound on the number of valid steps
    features: int
    units: int
    inputs: Rows  # (P, F) of x
    states: Rows  # (P, H) of h before each step
    full: bool  # whether all steps are known to be valid


def run_gradients(kind: Kind, call: Any) -> None:
    """Run the backward kernel of a cell.

    Args:
        kind: the cell and its activations.
        call: its arguments.
    """
    cell, x, gates = kind.cell, call.x, call.gates

    def arrays(name: str, names: Sequence[str]) -> tuple[DeviceArray, ...]:
        return tuple(getattr(call, name.format(one)) for one in names)

    weights = Weights(call.kernel, call.recurrent_kernel, call.bias, arrays("{}", cell.vectors))
    dweights = Weights(
        call.dkernel, call.drecurrent_kernel, call.dbias, arrays("d{}", cell.vectors)
    )
    plan = call.offsets, call.steps, call.order
    states = arrays("{}_first", cell.states), arrays("{}_steps", cell.states)
    valid = _steps_of(x, plan, *states, call.reverse)
    if not getattr(call, "gates_saved", True):
        _compute_gates(kind, gates, valid, weights)
    dy = empty((valid.rows if call.dout.size else 0, valid.units), x.dtype, x.device)
    steps.fold(dy, call.dout, valid.offsets, valid.places, call.reverse, call.zero_masked)
    dfirst, dlast = arrays("d{}_first", cell.states), arrays("d{}_last", cell.states)
    _run_loop(kind, gates, dy, valid, weights, dfirst, dlast, call.reverse)
    _finish(cell, call.dx, dweights, gates, valid, weights)


def _steps_of(
    x: DeviceArray,
    plan: tuple[DeviceArray, DeviceArray, DeviceArray],
    first: tuple[DeviceArray, ...],
    states: tuple[DeviceArray, ...],
    reverse: bool,
) -> Steps:
    (batch, time, features), units, (offsets, places, _) = x.shape, first[0].shape[1], plan
    rows = min(places.size, batch * time)
    before = empty(rows, np.int64, x.device)
    steps.rows_before(before, offsets, batch, reverse)
    full = products.are_all(places, batch * time)
    inputs = Rows(matrix(x), None if full else places)
    inputs = products.gathered(inputs, offsets, rows, features)
    h = products.gathered(Rows(matrix(states[0]), before, first[0]), offsets, rows, units)
    return Steps(*plan, first, states, before, rows, features, units, inputs, h, full)


def _run_loop(
    kind: Kind,
    gates: DeviceArray,
    dy: DeviceArray,
    valid: Steps,
    weights: Weights,
    dfirst: tuple[DeviceArray, ...],
    dlast: tuple[DeviceArray, ...],
    reverse: bool,
) -> None:
    cell, units, dtype = kind.cell, valid.units, gates.dtype
    spread = spread_of(kind, units, dtype, True)
    packed = empty(spread.size, dtype, gates.device)
    columns = [*of_h(cell), *called(cell)]
    recurrent_kernel = in_order(weights.recurrent_kernel, cell.recurrents, columns)
    pieces = [
        (columns.index(cell.order[first]) * units if count else 0, count)
        for first, count in blocks_of_products(cell)
    ]
    pack_spread(packed, 0, spread, recurrent_kernel, pieces, True)
    # On tensor cores the direction is known when compiling.
    known = reverse if isinstance(spread.tiles[0], Fragments) else None
    plan, width = (valid.offsets, valid.order, valid.order.size), gates.shape[1]
    launch_loop(
        gradient_loop(kind, spread.tiles, dtype, Variant(units, dy.size > 0, known)),
        spread,
        Call(dfirst, gates, dy, valid.steps, weights.vectors, dlast, valid.first),
        Layer(packed, 0, *plan, units, width, reverse),
    )


def _arranged(gates: DeviceArray, pieces: Pieces, valid: Steps) -> tuple[Rows, Pieces]:
    """As `products.arranged`, if no other columns lie between the gradients."""
    ends = [column + count for _, column, count in pieces]
    starts = [column for _, column, _ in pieces]
    if pieces and max(ends) - min(starts) > sum(count for _, _, count in pieces):
        return Rows(matrix(gates)), pieces
    return products.arranged(matrix(gates), pieces, valid.offsets, valid.rows, valid.units)


def _finish(
    cell: Cell,
    dx: DeviceArray,
    dweights: Weights,
    gates: DeviceArray,
    valid: Steps,
    weights: Weights,
) -> None:
    """The products over all valid steps."""
    columns, units = len(cell.inputs) * valid.units, valid.units
    plan, rows = valid.offsets, valid.rows
    dz, pieces = _arranged(gates, runs(cell.order, cell.inputs), valid)
    if dx.size and not (valid.full and pieces):
        fill(dx)
    for n, (block, column, count) in enumerate(pieces):
        part, width = dz.columns(block * units), count * units
        dkernel = Matrix(dweights.kernel, column * units, columns)
        products.over_rows(dkernel, valid.inputs, part, plan, valid.features, width, rows)
        if dx.size:
            products.rows(
                *(matrix(dx), part, Matrix(weights.kernel, column * units, columns), plan),
                rows,
                valid.features,
                width,
                target=None if valid.full else valid.places,
                transposed=True,
                add=n > 0,
            )
    _recurrent_gradients(cell, dweights.recurrent_kernel, gates, valid)
    _bias_gradients(cell, dweights, gates, valid)


def _recurrent_gradients(
    cell: Cell, drecurrent: DeviceArray, gates: DeviceArray, valid: Steps
) -> None:
    units, columns = valid.units, len(cell.recurrents) * valid.units
    factors = [(valid.states, of_h(cell))]
    for n, name in enumerate(called(cell), len(cell.order)):
        factors.append((Rows(matrix(gates)).columns(n * units), (name,)))
    for factor, names in factors:
        dz, pieces = _arranged(gates, runs(cell.order, cell.recurrents, names), valid)
        for block, column, count in pieces:
            part, width = dz.columns(block * units), count * units
            to = Matrix(drecurrent, column * units, columns)
            products.over_rows(to, factor, part, valid.offsets, units, width, valid.rows)


def _bias_gradients(cell: Cell, dweights: Weights, gates: DeviceArray, valid: Steps) -> None:
    """Gradients of bias and vectors: sums over the valid steps."""
    units = valid.units

    def add_up(out: DeviceArray, column: int, block: int, count: int) -> None:
        to, of = Matrix(out, column * units, out.shape[-1]), matrix(gates, block * units)
        gemm.column_sums(to, of, valid.offsets, count * units, valid.rows)

    for block, column, count in runs(cell.order, cell.sums):
        add_up(dweights.bias, column, block, count)
    for n, dvector in enumerate(dweights.vectors, len(cell.saved)):
        add_up(dvector, 0, n, 1)


def _compute_gates(kind: Kind, gates: DeviceArray, valid: Steps, weights: Weights) -> None:
    """Recompute what forward would have saved, from the states before each valid step."""
    cell, units, stride = kind.cell, valid.units, gates.shape[1]
    bias = empty(weights.bias.size, gates.dtype, gates.device)
    for block, column, count in runs(cell.order, cell.sums):
        copy_block(bias, block * units, weights.bias, column * units, count * units)

    def multiply(rows: Rows, length: int, kernel: DeviceArray, pieces: Pieces, add: bool) -> None:
        for block, column, count in pieces:
            products.rows(
                *(Matrix(gates, block * units, stride), rows),
                *(Matrix(kernel, column * units, kernel.shape[1]), valid.offsets),
                valid.rows,
                count * units,
                length,
                bias=None if add else Matrix(bias, block * units, 0),
                add=add,
            )

    def multiply_state(rows: Rows, names: Sequence[str]) -> None:
        for with_x in (True, False):
            chosen = [name for name in names if (name in cell.inputs) == with_x]
            pieces = runs(cell.order, cell.recurrents, chosen)
            multiply(rows, units, weights.recurrent_kernel, pieces, with_x)

    multiply(valid.inputs, valid.features, weights.kernel, runs(cell.order, cell.inputs), False)
    multiply_state(valid.states, of_h(cell))
    for n, name in enumerate(called(cell)):
        _run_values(kind, gates, valid, weights, n)
        multiply_state(Rows(matrix(gates)).columns((len(cell.order) + n) * units), (name,))
    _run_values(kind, gates, valid, weights, len(cell.called))


def _run_values(kind: Kind, gates: DeviceArray, valid: Steps, weights: Weights, part: int) -> None:
    _values(kind, gates.dtype, part).launch(
        *span(valid.rows * valid.units),
        *(gates, gates.shape[1], valid.before, valid.first, valid.steps, weights.vectors),
        *(valid.offsets, valid.offsets.size - 1, valid.units),
    )


@family()
def _values(kind: Kind, dtype: Any, part: int) -> Kernel:
    """Overwrites sums with the operand of called sum `part`, or in the last part with all saved."""
    cell, real = kind.cell, number(dtype)
    reals, ints, states = pointer(real), pointer(int64), pointers(real, len(cell.states))
    compute = _values_function(kind, dtype, part)

    @kernel(
        reals, int64, ints, states, states, pointers(real, len(cell.vectors)), ints, int64, int64
    )
    def run(
        gates: Any,
        stride: int,
        before: Any,
        first: Any,
        steps: Any,
        vectors: Any,
        offsets: Any,
        last: int,
        units: int,
    ) -> None:
        i = cuda.grid(1)
        while i < offsets[last] * units:
            p, unit = i // units, i % units
            compute(gates, p * stride + unit, before[p], first, steps, vectors, unit, units)
            i += cuda.gridsize(1)

    return run


def _values_function(kind: Kind, dtype: Any, part: int) -> Any:
    """Device function of (gates, at, row, first, steps, vectors, unit, units) for `_values`.

    Until the last part, sums are where the saved values will be.
    """
    cell, formula = kind.cell, kind.cell.formula
    known: dict[Symbol, str] = {
        formula.sums[name]: f"gates[at + {n} * units]" for n, name in enumerate(cell.order)
    }
    known |= {call: known[call.args[0]] for call in cell.called}
    known |= {
        state: f"(first[{n}][(-1 - row) * units + unit] if row < 0"
        f" else steps[{n}][row * units + unit])"
        for n, state in enumerate(formula.states.values())
    }
    known |= {s: f"vectors[{n}][unit]" for n, s in enumerate(formula.vectors.values())}
    values = {n: call.args[1] for n, call in enumerate(cell.called, len(cell.order))}
    if part < len(values):
        wanted = {len(cell.order) + part: cell.called[part].args[1]}
    else:
        wanted = {n: s for n, s in enumerate(cell.saved) if s is not None and n not in values}
    body = Body(kind, dtype.type, known, False)
    results = {n: body.name_of(symbol) for n, symbol in wanted.items()}
    body.lines += [f"gates[at + {n} * units] = {result}" for n, result in results.items()]
    return body.function(("gates", "at", "row", "first", "steps", "vectors", "unit", "units"))
