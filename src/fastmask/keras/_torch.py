"""The module for torch: fastmask.torch's operators, with autograd, torch.compile and export."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import keras
import torch
from torch import Tensor

from ..backends.layer import Layer
from ..backends.recurrent import forward
from ..torch import _stack
from ..torch._arguments import in_autocast
from ..torch._backend import why_not
from ..torch._cells import KERAS, TorchCell, cell_of
from ..torch._cpu import CPU
from ..torch._layer import Keep
from ..torch._masks import mask_of
from ..torch._recorders import forward_mode, needs_torch
from ..torch._weight_cache import packed_once
from . import _backend

try:
    from keras.src.backend.common.stateless_scope import in_stateless_scope
    from keras.src.backend.common.variables import get_autocast_scope
except ImportError:  # Keras has changed inside

    def in_stateless_scope() -> bool:
        """Whether a variable may have another value in this scope: assume so."""
        return True


_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def why_not_now(x: Any) -> str:
    """See `KerasBackend`."""
    if needs_torch():
        return "torch.jit and the ONNX exporter know only torch's operators"
    if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        return "torch.func's transforms are active"
    if forward_mode():
        return "torch differentiates in forward mode"
    if x.is_cpu:
        return ""
    if in_autocast(x.device):
        return f"autocast on {x.device.type} asks for half precision"
    return why_not(x.device, "LSTM")


def arrays(values: list[Any], dtype: str) -> list[Tensor]:
    """See `KerasBackend`; Keras's own conversion takes 3 us each, even where none is needed."""
    if torch.compiler.is_compiling() or in_stateless_scope() or get_autocast_scope() is not None:
        return _backend.arrays(values, dtype)
    wanted = _DTYPES[dtype]
    found = [value._value if isinstance(value, keras.Variable) else value for value in values]
    for one in found:
        if not (isinstance(one, Tensor) and one.is_cpu and one.dtype == wanted):
            return _backend.arrays(values, dtype)
    return found


def run(
    layer: Layer,
    x: Tensor,
    mask: Tensor | None,
    states: list[Tensor],
    weights: list[Tensor],
    training: bool,  # noqa: ARG001 - autograd knows whether gradients are needed
) -> tuple[Tensor, list[Tensor]]:
    """See `KerasBackend`."""
    valid = mask if mask is None or mask.dtype == torch.bool else mask != 0
    known: Any = valid
    if x.is_cpu and not torch.compiler.is_compiling():
        known = None if valid is None else mask_of(valid)
        if not _stack.needs_backward(x, *states, *weights):
            return _infer(layer, x, known, states, weights)
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


def _infer(
    layer: Layer, x: Tensor, mask: Any, states: list[Tensor], weights: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """What `run` returns where no gradient is needed, at a third of the cost."""
    cell = _cell(layer)
    (packed,) = packed_once(cell, [weights], _nothing)
    out, last = forward(
        CPU,
        cell,
        x,
        mask,
        packed,
        states,
        cell.settings,
        layer.return_sequences,
        layer.go_backwards,
        layer.zero_masked,
    )
    return torch.from_numpy(out), [torch.from_numpy(state) for state in last]


@lru_cache(maxsize=256)
def _cell(layer: Layer) -> TorchCell:
    return cell_of(KERAS + layer.words)


def _last_output(layer: Layer, h: Tensor, valid: Tensor | None) -> Tensor:
    """The output of the last step processed: zeros where that is masked, or all steps are."""
    if valid is None:
        return h
    some = valid[:, 0 if layer.go_backwards else -1] if layer.zero_masked else valid.any(1)
    return torch.where(some[:, None], h, 0)


def _nothing() -> None:
    """No check is needed: the shapes are known to fit."""
