"""A layer as a function of torch's autograd, for programs that torch does not compile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..backends.plan import Plan
from ._backend import backend_of
from ._cells import TorchCell
from ._layer import Keep, Kept, backward, forward
from ._recorders import refuse_batches, refuse_transforms

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
        # The weights themselves are not saved: torch would check that they have not changed.
        ctx.weights = weights
        ctx.save_for_backward(x, *states, *kept.steps, kept.gates, *kept_weights)
        ctx.set_materialize_grads(False)
        return out, *last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        """See `_layer.backward`."""
        saved = ctx.saved_tensors  # once, which is all that torch.utils.checkpoint allows
        if not torch.is_grad_enabled():
            return None, *_backward(ctx, saved, grads)
        with torch.no_grad():
            found = _backward(ctx, saved, grads)
        depends = saved[: 1 + ctx.cell.states], ctx.weights, grads
        return None, *last_gradients(ctx.cell, found, [one for own in depends for one in own])


def last_gradients(
    cell: TorchCell, found: Sequence[Tensor | None], depends: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Gradients that cannot be differentiated again, in a graph that torch keeps for that.

    Args:
        cell: whose gradients they are.
        found: the gradients.
        depends: all that they depend on. An error is raised on the way to any of it: without a way
            torch would take the derivatives for zero.
    """
    some = [one for one in found if one is not None]
    last = iter(_Last.apply(cell.called, len(some), *some, *depends))
    return [None if one is None else next(last) for one in found]


class _Last(Function):
    @staticmethod
    def forward(
        ctx: Any, called: tuple[str, ...], count: int, *tensors: Tensor | None
    ) -> tuple[Any, ...]:
        ctx.called = called
        return tuple([one.detach() for one in tensors[:count] if one is not None])

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        name, *original = ctx.called
        instead = f"; use torch.nn.{original[0]} with its state_dict()" if original else ""
        raise NotImplementedError(
            f"{name} has gradients, but no gradients of gradients: what is computed from gradients "
            f"with create_graph=True cannot be differentiated through it{instead}"
        )


def _backward(
    ctx: Any, saved: Sequence[Tensor], grads: tuple[Tensor | None, ...]
) -> tuple[Any, ...]:
    cell, n = ctx.cell, ctx.cell.states
    refuse_transforms(*cell.called)
    refuse_batches(grads, *cell.called)
    (x, *saved), (dout, *dlast) = saved, grads
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
    return found.x, *found.states, *found.weights
