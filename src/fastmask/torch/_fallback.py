"""torch's own operators, for what the kernels cannot do: masks become packed sequences.

The valid steps of each row are moved to its start and packed; so torch sees no mask
at all, whatever its shape. A row without steps gets one of zeros, whose results are dropped.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..masks.mask import Mask
from ._masks import batch_first_mask, valid_tensor
from ._recorders import exports_to_onnx, needs_torch
from ._warnings import warn_once

# What cannot be done with a mask, and what can be done instead: for torch.jit, for ONNX.
_RECORDED = (
    (
        "recorded by torch.jit",
        "use torch.export, or call the module with a PackedSequence that the model makes",
    ),
    (
        "exported to ONNX",
        "call the module with a PackedSequence that the model makes, and export with dynamo=False",
    ),
)


def by_torch(
    module: Any, original: Any, reason: str, input: Any, hx: Any, mask: Any
) -> tuple[Any, Any]:
    """What `module` returns, computed by the class of torch.nn that it replaces."""
    name = original.__name__
    warn_once(
        module,
        f"fastmask.torch.{name} runs torch.nn.{name} here, which is slower on sequences of unequal "
        "length",
        reason,
    )
    if mask is not None and needs_torch():
        cannot, instead = _RECORDED[exports_to_onnx()]
        raise NotImplementedError(f"mask of fastmask.torch.{name} cannot be {cannot}: {instead}")
    twin = original.__new__(original)
    object.__setattr__(twin, "__dict__", module.__dict__)  # the same parameters and options
    known = batch_first_mask(mask, input, module.batch_first)
    if isinstance(input, Tensor) and not needs_torch():
        axis = int(module.batch_first and input.dim() == 3)
        if 0 in input.shape[axis : axis + 1]:
            return _without_steps(twin, input, hx, axis)
    # Without rows nothing can be packed, and on the device meta there are shapes alone.
    if known is None or 0 in known.shape or (isinstance(input, Tensor) and input.is_meta):
        result: tuple[Any, Any] = twin(input, hx)
        return result
    if not module.zero_output_for_mask:  # of the class, where `convert` made the module
        raise NotImplementedError(
            "zero_output_for_mask=False with a mask needs fastmask's own kernels, which cannot "
            f"run here: {reason}"
        )
    return _masked(twin, input, hx, known)


def _without_steps(twin: Any, input: Tensor, hx: Any, axis: int) -> tuple[Any, Any]:
    """No outputs, and the states as they are; torch, which needs a step, checks them with one."""
    shape = list(input.shape)
    shape[axis] = 1
    out, last = twin(input.new_zeros(shape), hx)
    if hx is None:
        hx = _each(torch.zeros_like, last)
    return out.narrow(axis, 0, 0), tuple(hx) if isinstance(last, tuple) else hx


def _masked(twin: Any, input: Tensor, hx: Any, mask: Mask | Tensor) -> tuple[Any, Any]:
    """`twin` over the valid steps of `input`."""
    batched = input.dim() == 3
    x = input if batched else input.unsqueeze(0)
    x = x if twin.batch_first or not batched else x.transpose(0, 1)
    if not batched and hx is not None:
        hx = _each(lambda state: state.unsqueeze(1), hx)
    valid = valid_tensor(mask, input.device)
    out, last = _over_steps(twin, x, hx, valid)
    if not batched:
        return out.squeeze(0), _each(lambda state: state.squeeze(1), last)
    return out if twin.batch_first else out.transpose(0, 1), last


def _over_steps(twin: Any, x: Tensor, hx: Any, valid: Tensor) -> tuple[Tensor, Any]:
    time = valid.shape[1]
    lengths = valid.sum(1)
    order = (~valid).long().argsort(dim=1, stable=True)  # valid steps first
    x = torch.where(valid[:, :, None], x, 0)  # what is masked may be NaN
    together = x.gather(1, order[:, :, None].expand_as(x))
    sequences = pack_padded_sequence(
        together, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
    )
    packed, last = twin(sequences, hx)
    out, _ = pad_packed_sequence(packed, batch_first=True, total_length=time)
    back = order.argsort(dim=1)
    out = out.gather(1, back[:, :, None].expand_as(out))
    some = (lengths > 0)[:, None]
    kept = _each(torch.zeros_like, last) if hx is None else hx
    pairs = zip(last, kept, strict=True) if isinstance(last, tuple) else [(last, kept)]
    states = [torch.where(some, after, before) for after, before in pairs]
    out = torch.where(valid[:, :, None], out, 0)
    return out, tuple(states) if isinstance(last, tuple) else states[0]


def _each(function: Any, states: Any) -> Any:
    return tuple(map(function, states)) if isinstance(states, (tuple, list)) else function(states)
