"""The part for torch: the operators of fastmask.torch, with autograd, torch.compile and export."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..backends.layer import Layer
from ..torch import _stack
from ..torch._arguments import in_autocast
from ..torch._backend import why_not
from ..torch._cells import KERAS
from ..torch._layer import Keep
from ..torch._masks import mask_of
from ..torch._recorders import needs_torch


def why_not_now(x: Any) -> str:
    """See `KerasBackend`."""
    if needs_torch():
        return "torch.jit and the ONNX exporter know torch's operators alone"
    if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        return "torch.func's transforms are at work"
    if x.device.type != "cpu" and in_autocast(x.device):
        return f"autocast on {x.device.type} asks for half precision"
    return why_not(x.device, "LSTM")


def run(
    layer: Layer,
    x: Tensor,
    mask: Tensor | None,
    states: list[Tensor],
    weights: list[Tensor],
    training: bool,  # noqa: ARG001 - autograd knows better
) -> tuple[Tensor, list[Tensor]]:
    """See `KerasBackend`."""
    valid = None if mask is None else mask != 0
    known = valid
    if valid is not None and not torch.compiler.is_compiling() and x.device.type == "cpu":
        known = mask_of(valid)
    out, last = _stack.run_stack(
        KERAS + layer.words,
        x,
        [state[None].contiguous() for state in states],
        [[weights]],
        _nothing,
        _stack.plan_of(known, x, mask),
        0.0,
        layer.zero_masked,
        Keep.GATES,
    )
    last = [state[0] for state in last]
    if layer.return_sequences:
        return out, last
    return _last_output(layer, last[0], valid), last


def changed(model: Any, layers: list[Any], converted: bool) -> None:
    """See `KerasBackend`; torch traces nothing before it runs."""


def _last_output(layer: Layer, h: Tensor, valid: Tensor | None) -> Tensor:
    """The output of the last step processed: zeros where that is masked, or all steps are."""
    if valid is None:
        return h
    some = valid[:, 0 if layer.go_backwards else -1] if layer.zero_masked else valid.any(1)
    return torch.where(some[:, None], h, 0)


def _nothing() -> None:
    """Shapes are known to fit."""
