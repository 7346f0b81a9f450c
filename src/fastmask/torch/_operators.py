"""A layer as operators that torch.compile and torch.export do not look into.

Here shapes of results must not depend on a mask's values, so whatever depends on the number of
valid steps has room for all steps. Nor may an operator change its arguments: the gates are
copied before backward overwrites them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..backends.plan import Plan
from . import _device
from ._backend import backend_of
from ._cells import cell_of
from ._layer import Keep, Kept, backward, forward
from ._masks import mask_of

_DEVICES = ("cpu", _device.CUDA)

_CELL = "str mode, Tensor x, Tensor[] states, Tensor[] weights, Tensor[] plan, "


@torch.library.custom_op(
    "fastmask::plan", mutates_args=(), device_types=_DEVICES, schema="(Tensor valid) -> Tensor[]"
)
def plan(valid: Tensor) -> list[Tensor]:
    """The plan of a mask (B, T): offsets (B + 1,), steps (B * T,), order (B,), how many steps.

    The number of valid steps is on the CPU for every device, so that no layer has to wait for
    it.
    """
    batch, time = valid.shape
    mask = valid if valid.device.type == _device.CUDA else mask_of(valid)
    found = backend_of(valid.device).plan_of(mask, batch, time, valid.device)
    offsets, exact, order = [a if isinstance(a, Tensor) else torch.tensor(a) for a in found]
    steps = exact.new_zeros(valid.numel())
    steps[: len(exact)] = exact
    return [offsets, steps, order, torch.tensor(len(exact))]


@plan.register_fake
def _(valid: Tensor) -> list[Tensor]:
    batch, time = valid.shape
    sizes = (batch + 1, batch * time, batch)
    arrays = [torch.empty(size, dtype=torch.int64, device=valid.device) for size in sizes]
    return [*arrays, torch.empty((), dtype=torch.int64)]


@torch.library.custom_op(
    "fastmask::layer",
    mutates_args=(),
    device_types=_DEVICES,
    schema=f"({_CELL}bool zero_masked, int keep) -> Tensor[]",
)
def layer(
    mode: str,
    x: Tensor,
    states: list[Tensor],
    weights: list[Tensor],
    plan: list[Tensor],
    zero_masked: bool,
    keep: int,
) -> list[Tensor]:
    """See `_layer.forward`; `plan` is empty if all steps are valid.

    Returns:
        The output, the last states, and what was kept.
    """
    cell = cell_of(mode)
    _, packed = backend_of(x.device).packed_to_train(cell, _by_direction(weights, states))
    known = _plan_of(plan, x)
    out, last, kept = forward(
        cell, x, states, packed, known, zero_masked, Keep(keep), x.shape[0] * x.shape[1]
    )
    return [out, *last, *kept.steps, kept.gates]


@layer.register_fake
def _(
    mode: str,
    x: Tensor,
    states: list[Tensor],
    weights: list[Tensor],  # noqa: ARG001 - their shapes follow from the others
    plan: list[Tensor],  # noqa: ARG001 - likewise
    zero_masked: bool,  # noqa: ARG001 - likewise
    keep: int,
) -> list[Tensor]:
    cell = cell_of(mode)
    batch, time, _ = x.shape
    directions, _, units = states[0].shape
    rows = batch * time
    gate_rows = rows if keep == Keep.GATES and cell.keeps_gates else 0
    return [
        x.new_empty(batch, time if cell.return_sequences else 0, directions * units),
        *[x.new_empty(state.shape) for state in states],
        *[x.new_empty(directions, rows if keep else 0, units) for _ in states],
        x.new_empty(directions, gate_rows, cell.gates_saved * units),
    ]


@torch.library.custom_op(
    "fastmask::layer_backward",
    mutates_args=(),
    device_types=_DEVICES,
    schema=f"({_CELL}bool zero_masked, Tensor dout, Tensor[] dlast, Tensor[] steps, Tensor gates, "
    "bool want_dx) -> Tensor[]",
)
def layer_backward(
    mode: str,
    x: Tensor,
    states: list[Tensor],
    weights: list[Tensor],
    plan: list[Tensor],
    zero_masked: bool,
    dout: Tensor,
    dlast: list[Tensor],
    steps: list[Tensor],
    gates: Tensor,
    want_dx: bool,
) -> list[Tensor]:
    """See `_layer.backward`.

    Returns:
        The gradients of x (empty if it is not wanted), of the states and of the weights.
    """
    cell = cell_of(mode)
    by_direction = _by_direction(weights, states)
    kept_weights, _ = backend_of(x.device).packed_to_train(cell, by_direction)
    found = backward(
        cell,
        dout,
        dlast,
        x,
        states,
        kept_weights,
        _plan_of(plan, x),
        zero_masked,
        Kept(steps, gates.clone()),
        cell.has_bias(by_direction[0]),
        want_dx,
    )
    return [x.new_empty(0) if found.x is None else found.x, *found.states, *found.weights]


@layer_backward.register_fake
def _(
    mode: str,  # noqa: ARG001 - gradients have the shapes of what they belong to
    x: Tensor,
    states: list[Tensor],
    weights: list[Tensor],
    plan: list[Tensor],  # noqa: ARG001 - likewise
    zero_masked: bool,  # noqa: ARG001 - likewise
    dout: Tensor,  # noqa: ARG001 - likewise
    dlast: list[Tensor],  # noqa: ARG001 - likewise
    steps: list[Tensor],  # noqa: ARG001 - likewise
    gates: Tensor,  # noqa: ARG001 - likewise
    want_dx: bool,
) -> list[Tensor]:
    dx = x.new_empty(x.shape if want_dx else 0)
    return [dx, *[x.new_empty(value.shape) for value in (*states, *weights)]]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    mode, x, states, weights, plan, ctx.zero_masked, _ = inputs
    ctx.mode = mode
    ctx.sizes = [len(states), len(weights), len(plan), len(states)]
    steps_and_gates = output[1 + len(states) :]
    ctx.save_for_backward(x, *states, *weights, *plan, *steps_and_gates)


def _gradients(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    x, *saved, gates = ctx.saved_tensors
    groups = []
    for size in ctx.sizes:
        groups.append(list(saved[:size]))
        saved = saved[size:]
    states, weights, plan, steps = groups
    dout, *rest = grads
    dx, *found = layer_backward(
        ctx.mode,
        x,
        states,
        weights,
        plan,
        ctx.zero_masked,
        dout,
        rest[: len(states)],
        steps,
        gates,
        ctx.needs_input_grad[1],
    )
    return (
        None,
        dx if ctx.needs_input_grad[1] else None,
        found[: len(states)],
        found[len(states) :],
        [None] * len(plan),
        None,
        None,
    )


layer.register_autograd(_gradients, setup_context=_remember)


def _by_direction(weights: list[Tensor], states: list[Tensor]) -> list[list[Tensor]]:
    directions = len(states[0])
    each = len(weights) // directions
    return [weights[d * each : (d + 1) * each] for d in range(directions)]


def _plan_of(plan: list[Tensor], x: Tensor) -> Plan:
    backend = backend_of(x.device)
    if not plan:
        batch, time, _ = x.shape
        return backend.plan_of(None, batch, time, x.device)
    offsets, steps, order, count = plan
    return Plan(*map(backend.view, (offsets, steps[: int(count)], order)))
