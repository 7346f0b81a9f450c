"""One recurrent layer, in one direction or in both, forward and backward.

The kernels are those of the backend for the tensors' device. Nothing here knows of autograd.

Shapes: x (B, T, F); initial and last states (D, B, H) with D directions; out (B, T, D * H).
Kernels write the backward direction in the order of processing, from the end; here it is reversed
on its way into its half of the output.

On the CPU x may also be (1, P, F), the steps of ragged rows one after the other. Then the states
give the number of rows, and out is (1, P, D * H).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ..backends.plan import Plan
from ..backends.recurrent import run_forward
from ..backends.rows import Rows
from ._backend import backend_of
from ._cells import TorchCell, Weights
from ._parts import whole
from ._passes import Pass


class Keep(IntEnum):
    """What forward keeps for backward."""

    NOTHING = 0
    STATES = 1  # backward computes the gates again
    GATES = 2


class Kept(NamedTuple):
    """What forward kept: rows are the valid steps, in the plan's order.

    steps: of each state (D, K, H); gates: (D, K, gates_saved * H), or with no rows.
    """

    steps: list[Tensor]
    gates: Tensor


class Gradients(NamedTuple):
    """What backward returns; x is None if it was not wanted, weights are in torch's layout."""

    x: Tensor | None
    states: list[Tensor]
    weights: list[Tensor]


def forward(
    cell: TorchCell,
    x: Tensor,
    states: Sequence[Tensor],
    packed: Sequence[Any],
    plan: Plan,
    zero_masked: bool,
    keep: Keep = Keep.NOTHING,
    rows: int | None = None,
) -> tuple[Tensor, list[Tensor], Kept]:
    """Run the layer.

    Args:
        cell: the cell.
        x: (B, T, F), or (1, P, F) of ragged rows.
        states: the initial states, (D, B, H) each.
        packed: of each direction, see `TensorBackend.packed_to_train` and `_backend.packed`.
        plan: which steps are valid.
        zero_masked: whether masked steps give zeros instead of the previous output.
        keep: what is kept for `backward`.
        rows: number of rows allocated for what is kept; by default that of the valid steps.

    Returns:
        The output, the last states, and what was kept.
    """
    backend = backend_of(x.device)
    lines, time, _ = x.shape
    directions, batch, units = states[0].shape
    valid = len(plan.steps)
    rows = valid if rows is None else rows
    out_time = time if cell.return_sequences else 0
    out = x.new_empty(lines, out_time, directions * units)
    last = [x.new_empty(directions, batch, units) for _ in states]
    steps = [x.new_empty(directions, rows if keep else 0, units) for _ in states]
    gate_rows = rows if keep == Keep.GATES and cell.keeps_gates else 0
    gates = x.new_empty(directions, gate_rows, cell.gates_saved * units)
    view = backend.view
    inputs, first, ends = view(x), [*map(view, states)], [*map(view, last)]
    kept = [*map(view, (*steps, gates) if cell.keeps_gates else steps)]
    for d in range(directions):
        half = out if directions == 1 else x.new_empty(lines, out_time, units)
        run_forward(
            backend,
            cell,
            [view(half), *[end[d] for end in ends], *[one[d, :valid] for one in kept]],
            inputs,
            plan,
            packed[d],
            [state[d] for state in first],
            cell.settings,
            d == 1 or cell.go_backwards,
            zero_masked,
        )
        if directions > 1 and lines == batch:
            backend.put_half(out, half, d)
        elif directions > 1:
            out.chunk(directions, 2)[d].copy_(turned(half, plan) if d else half)
    return out, last, Kept(steps, gates)


def backward(
    cell: TorchCell,
    dout: Tensor | None,
    dlast: Sequence[Tensor | None],
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    plan: Plan,
    zero_masked: bool,
    kept: Kept,
    bias: bool,
    want_dx: bool,
) -> Gradients:
    """Run a layer backward that `forward` has run with the same arguments.

    `dout` is (B, T, D * H), `dlast` (D, B, H) each; None stands for zeros. `weights` are what
    `TensorBackend.packed_to_train` kept. The gates in `kept` are overwritten; without rows they
    are computed again. `bias` tells whether the weights of torch have biases, `want_dx` whether
    the gradient of x is wanted.
    """
    backend = backend_of(x.device)
    lines, time, features = x.shape
    directions, batch, units = states[0].shape
    dx_sum: Any = None
    dstates = [x.new_empty(directions, batch, units) for _ in states]
    dtorch: list[Tensor] = []
    saved = kept.gates.shape[1] > 0
    # Gates are recomputed for one part of the batch at a time.
    parts = whole(plan, time)
    if cell.keeps_gates and not saved:
        parts = backend.parts(plan, time, cell.width * units * x.element_size())
    room = max(part.steps.stop - part.steps.start for part in parts)
    if None in dlast:
        nothing = x.new_zeros(directions, batch, units)
        dlast = [nothing if dend is None else dend for dend in dlast]
    if dout is None:
        dout = x.new_empty(lines, 0, units)
    for d in range(directions):
        dx = x.new_empty(lines, time if want_dx else 0, features)
        own = dout
        if dout.shape[2] != units and lines == batch:
            own = backend.half_of(dout, d)
        elif dout.shape[2] != units:
            own = dout.chunk(directions, 2)[d]
            own = turned(own, plan) if d else own.contiguous()
        gates = _gates_of(cell, kept.gates[d], room, units)
        this = Pass(
            *(cell, d, zero_masked, saved, own, cast("Sequence[Tensor]", dlast), x, states),
            *(kept.steps, weights, gates, dx, dstates),
        )
        total: Weights | None = None
        for part in parts:
            found = cell.new_weights(x, features, units)
            backend.run_part(this, part, found)
            total = found if total is None else _added(total, found)
        if want_dx:
            dx_sum = dx if dx_sum is None else dx_sum.add_(dx)
        assert total is not None  # even a batch without rows has a part
        dtorch += cell.to_torch(total, bias)
    return Gradients(dx_sum, dstates, dtorch)


def turned(steps: Tensor, plan: Plan) -> Tensor:
    """Steps (1, P, H) of ragged rows, with each row reversed."""
    return steps.index_select(1, torch.from_numpy(Rows(plan.offsets).turned))


def _gates_of(cell: TorchCell, kept: Tensor, rows: int, units: int) -> Tensor:
    """Memory for one direction's gates in backward, with those that forward kept."""
    if len(kept) and cell.gates_saved == cell.width:
        return kept
    gates = kept.new_empty(max(rows, len(kept)), cell.width * units)
    if len(kept):
        gates[:, : kept.shape[1]] = kept
    return gates


def _added(total: Weights, part: Weights) -> Weights:
    """Add the gradients of a part of the batch to `total`."""
    for sum_so_far, more in zip(total, part, strict=True):
        sum_so_far += more
    return total
