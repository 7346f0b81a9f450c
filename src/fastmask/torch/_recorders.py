"""Tools of torch that record what modules do instead of running them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


def refuse_transforms(name: str, original: str = "") -> None:
    """Raise an error inside a transform of torch.func, or where torch differentiates forward.

    Args:
        name: what messages call the module.
        original: name of the class of torch.nn that it replaces, if any.

    Raises:
        NotImplementedError: a transform is active.
    """
    if forward_mode():
        raise NotImplementedError(
            f"{name} has no forward-mode derivatives (torch.autograd.forward_ad): "
            "call torch.autograd.grad or backward for gradients"
        )
    if torch._C._are_functorch_transforms_active():
        instead = f", or use torch.nn.{original}" if original else ""
        raise NotImplementedError(
            f"{name} cannot be transformed by torch.func (grad, vmap, jvp, ...): "
            "call torch.autograd.grad or backward for gradients, give the module a batch instead "
            f"of vmap{instead}"
        )


def refuse_batches(gradients: Iterable[Tensor | None], name: str, original: str = "") -> None:
    """Raise an error if gradients are batches of gradients; see `refuse_transforms`.

    Raises:
        NotImplementedError: they are.
    """
    batched = torch._C._functorch.is_legacy_batchedtensor
    if any(one is not None and batched(one) for one in gradients):
        instead = f", or use torch.nn.{original}" if original else ""
        raise NotImplementedError(
            f"{name} has no batched gradients (is_grads_batched=True, vectorize=True): call "
            f"torch.autograd.grad for each of them{instead}"
        )


def forward_mode() -> bool:
    """Whether torch differentiates forward, whose tangents tensors carry without requires_grad."""
    return not torch.compiler.is_compiling() and forward_ad._current_level >= 0


def needs_torch() -> bool:
    """Whether torch.jit or the ONNX exporter records, which have only torch's own operators."""
    return exports_to_onnx() if torch.compiler.is_compiling() else bool(torch.jit.is_tracing())


def exports_to_onnx() -> bool:
    """Whether torch.onnx.export runs, also while it compiles."""
    return bool(torch.onnx.is_in_onnx_export())


# The compiler takes torch's function for False, but calls this one; see `_backend.why_not`.
exports_to_onnx._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch reads it


def leaf(module: Any, overridden: bool, input: Any, hx: Any, mask: Any) -> Any:
    """Record the call of a module as torch.fx records torch.nn's, without looking inside.

    `torch.fx.symbolic_trace` takes the module for one of the user's; `overridden` tells whether
    its class has a `forward` of its own.

    Raises:
        NotImplementedError: other code runs around the module's own, which would be recorded and
            run again inside the module; or the module is the whole program.
    """
    name = input.tracer.path_of_module(module)
    why = ""
    if not name:
        why = "a module by itself: trace the one that it belongs to"
    elif overridden:
        why = f"module {name!r}, whose class {type(module).__name__} has a forward of its own"
    elif module._forward_hooks or module._forward_pre_hooks:
        why = f"module {name!r}, which has hooks: add them after tracing"
    if why:
        raise NotImplementedError(f"torch.fx cannot record {why}")
    arguments = (input,) if hx is None else (input, hx)
    options = {} if mask is None else {"mask": mask}
    return input.tracer.create_proxy("call_module", name, arguments, options)
