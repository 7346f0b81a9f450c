"""A stack of layers over one plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..backends.plan import Plan
from ._autograd import Layer
from ._backend import backend_of
from ._cells import cell_of
from ._layer import Keep, forward
from ._operators import layer as layer_operator
from ._operators import plan as plan_operator
from ._weight_cache import packed_once

Weights = list[list[Tensor]]  # of each direction


def run_stack(
    mode: str,
    x: Tensor,
    states: Sequence[Tensor],
    layers: Sequence[Weights],
    check: Callable[[], None],
    plan: Any,
    dropout: float,
    zero_masked: bool,
    keep: Keep,
) -> tuple[Tensor, list[Tensor]]:
    """Run a stack of recurrent layers.

    Args:
        mode: torch's name for the cell.
        x: (B, T, F).
        states: the initial states, (layers * D, B, H) each.
        layers: the weights of each direction of each layer.
        check: raises an error if weights do not fit; called before any are packed.
        plan: see `plan_of`.
        dropout: rate of the dropout between layers; 0 outside training.
        zero_masked: whether masked steps give zeros instead of the previous output.
        keep: what to keep for backward, if there will be one.

    Returns:
        The output (B, T, D * H), and the last states (layers * D, B, H) each.
    """
    run = _compiled_layer if torch.compiler.is_compiling() else _layer
    directions = len(layers[0])
    ends = []
    for number, weights in enumerate(layers):
        mine = slice(number * directions, (number + 1) * directions)
        first = list(states) if len(layers) == 1 else [state[mine] for state in states]
        x, *last = run(mode, x.contiguous(), first, weights, check, plan, zero_masked, keep)
        ends.append(last)
        if dropout and number + 1 < len(layers):
            x = torch.nn.functional.dropout(x, dropout)
    if len(ends) == 1:
        return x, ends[0]
    return x, [torch.cat(last) for last in zip(*ends, strict=True)]


def plan_of(mask: Any, x: Tensor, given: Any) -> Any:
    """The plan of a mask, from `batch_first_mask`, for `run_stack`; `given` is the user's mask."""
    if torch.compiler.is_compiling():
        return [] if mask is None else plan_operator(mask.to(x.device))
    batch, time, _ = x.shape
    return backend_of(x.device).plan_of(mask, batch, time, x.device, given)


def _layer(
    mode: str,
    x: Tensor,
    states: list[Tensor],
    weights: Weights,
    check: Callable[[], None],
    plan: Plan,
    zero_masked: bool,
    keep: Keep,
) -> tuple[Tensor, ...]:
    cell = cell_of(mode)
    flat = [weight for direction in weights for weight in direction]
    if needs_backward(x, *states, *flat):
        check()
        outputs: tuple[Tensor, ...] = Layer.apply(
            (cell, plan, zero_masked, keep, len(weights)), x, *states, *flat
        )
        return outputs
    if cell.sizes(weights[0]) != (x.shape[2], states[0].shape[2]):
        check()  # the weights may be packed already, for another module that shares them
    packed = packed_once(cell, weights, check)
    out, last, _ = forward(cell, x, states, packed, plan, zero_masked)
    return out, *last


def _compiled_layer(
    mode: str,
    x: Tensor,
    states: list[Tensor],
    weights: Weights,
    check: Callable[[], None],
    plan: list[Tensor],
    zero_masked: bool,
    keep: Keep,
) -> tuple[Tensor, ...]:
    check()
    flat = [weight for direction in weights for weight in direction]
    wanted = int(keep) if needs_backward(x, *states, *flat) else 0
    outputs = layer_operator(mode, x, states, flat, plan, zero_masked, wanted)
    return tuple(outputs[: 1 + len(states)])


def needs_backward(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
