"""A layer as a function of torch's autograd, for programs that torch does not compile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ..backends.plan import Plan
from ._backend import backend_of
from ._cells import TorchCell
from ._layer import Keep, Kept, backward, forward
from ._recorders import refuse_transforms

FEW = 1 << 14
"""Up to this size gates are copied, in 10 us or less, and so kept for a second backward.

Gates that are recomputed differ from saved ones by rounding. Whoever compares two backward
passes to the bit, as `torch.autograd.gradcheck` does, has small arrays.
"""


class Layer(Function):
    """Layer.apply((cell, plan, zero_masked, keep, directions), x, *states, *weights).

    Returns the output and the last states. Double backward is not supported.
    """

    @staticmethod
    def forward(
        ctx: Any,
        settings: tuple[TorchCell, Plan, bool, Keep, int],
        x: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        """See `_layer.forward`."""
        cell, plan, zero_masked, keep, directions = settings
        states, weights = tensors[: cell.states], tensors[cell.states :]
        each, backend = len(weights) // directions, backend_of(x.device)
        kept_weights, packed = backend.packed_to_train(
            cell, [weights[d * each : (d + 1) * each] for d in range(directions)]
        )
        out, last, kept = forward(cell, x, states, packed, plan, zero_masked, keep)
        ctx.cell, ctx.plan, ctx.zero_masked = cell, plan, zero_masked
        ctx.chosen = backend.chosen()
        ctx.bias = cell.has_bias(weights[:each])
        ctx.spent = False
        # Not the weights themselves: torch would check that they have not changed.
        ctx.save_for_backward(x, *states, *kept.steps, kept.gates, *kept_weights)
        ctx.set_materialize_grads(False)
        return out, *last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        """See `_layer.backward`."""
        if not torch.is_grad_enabled():
            return _backward(ctx, *grads)
        # With create_graph=True torch refuses to differentiate again only if an incoming gradient
        # requires gradients. So let them: the results depend on x and on the weights in any case.
        grads = tuple([None if one is None else one.detach().requires_grad_() for one in grads])
        found: tuple[Any, ...] = once_differentiable(_backward)(ctx, *grads)
        return found


def _backward(ctx: Any, dout: Tensor | None, *dlast: Tensor | None) -> tuple[Any, ...]:
    cell, n = ctx.cell, ctx.cell.states
    refuse_transforms(*cell.called)
    x, *saved = ctx.saved_tensors
    states, steps = saved[:n], saved[n : 2 * n]
    gates, *weights = saved[2 * n :]
    if ctx.spent:  # an earlier backward has overwritten the gates
        gates = gates[:, :0]
    elif gates.numel() <= FEW:
        gates = gates.clone()
    else:
        ctx.spent = True
    with ctx.chosen():
        found = backward(
            cell,
            dout,
            dlast,
            x,
            states,
            weights,
            ctx.plan,
            ctx.zero_masked,
            Kept(steps, gates),
            ctx.bias,
            ctx.needs_input_grad[1],
        )
    return None, found.x, *found.states, *found.weights
