"""Convert masks that users of torch pass."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backends.dispatch import as_array
from ..masks.mask import Mask
from ..masks.validity import checked_mask
from . import _device


def hint_of_lengths(value: Any, input: Tensor, batch_first: bool) -> str:
    """How the lengths of a batch's rows become a mask, if `value` can be that; empty if not."""
    batch, time = batch_and_time(input, batch_first)
    count = count_of_integers(value)
    if count is None or input.dim() != 3 or count not in (batch, time):
        return ""
    how = ": lengths become a mask by fastmask.Mask.from_lengths(lengths, {})"
    if count == batch:
        return how.format(time)
    order = "time, batch" if batch_first else "batch, time"
    return f"{how.format(batch)} for an input ({order}, features), batch_first={not batch_first}"


def count_of_integers(value: Any) -> int | None:
    """How many integers a vector or a list of them has; None for anything else."""
    if isinstance(value, (list, tuple)):
        whole = all(type(one) is int or isinstance(one, np.integer) for one in value)  # not bool
        return len(value) if value and whole else None
    shape = tuple(getattr(value, "shape", ()))
    return shape[0] if "int" in str(getattr(value, "dtype", "")) and len(shape) == 1 else None


def mask_of(valid: Any) -> Mask:
    """`valid`, (B, T), as a `Mask`."""
    return Mask(as_host_array(valid) if isinstance(valid, Tensor) else valid)


def batch_first_mask(mask: Any, input: Tensor, batch_first: bool) -> Mask | Tensor | None:
    """The mask of a padded input with the axes (B, T).

    Args:
        mask: `Mask`, always (B, T); or a tensor or an array with the axes of `input`, (B, T) or
            (T, B), or (T,) for an input without batch.
        input: (B, T, F), (T, B, F) or (T, F).
        batch_first: which of the first two.

    Returns:
        A `Mask`; or a tensor (B, T) if torch is compiling, or mask and input are on CUDA
        devices; None for None.

    Raises:
        TypeError: the mask does not hold numbers.
        ValueError: the mask has another shape than the first axes of the input, holds a number
            that is neither valid nor masked, or has no values.
    """
    if mask is None:
        return None
    compiling = torch.compiler.is_compiling()
    turned = not (isinstance(mask, Mask) or batch_first or input.dim() == 2)
    expected = tuple(input.shape[:2] if input.dim() == 3 else input.shape[:1])
    if isinstance(mask, Mask):
        expected = batch_and_time(input, batch_first)
        mask = outside_graph(_tensor_of)(mask) if compiling else mask
    elif not isinstance(mask, Tensor):
        mask = as_array(mask, "mask")
    if tuple(mask.shape) != expected:
        axes = {1: "(time,)", 2: "(time, batch)" if turned else "(batch, time)"}[len(expected)]
        hint = hint_of_lengths(mask, input, batch_first)
        raise ValueError(f"mask must have shape {axes} = {expected}, not {tuple(mask.shape)}{hint}")
    if isinstance(mask, Mask):
        return mask
    if len(expected) == 1:
        mask = mask[None]
    mask = mask.T if turned else mask
    if compiling:
        return torch.as_tensor(mask)
    if isinstance(mask, Tensor) and mask.device.type == input.device.type == _device.CUDA:
        if mask.is_complex():
            raise TypeError(f"mask must be bool, integer or float, not {mask.dtype}")
        return mask.detach()
    if isinstance(mask, Tensor) and mask.is_meta:
        raise ValueError("mask must have values, which tensors on the device meta do not have")
    return mask_of(mask)


def batch_and_time(input: Tensor, batch_first: bool) -> tuple[int, int]:
    """B and T of an input, where a sequence without a batch is one row."""
    if input.dim() == 2:
        return 1, len(input)
    batch, time = input.shape[:2] if batch_first else input.shape[1::-1]
    return batch, time


def valid_tensor(mask: Mask | Tensor, device: Any) -> Tensor:
    """A mask as a bool tensor (B, T) on a device."""
    if isinstance(mask, Mask):
        return _tensor_of(mask).to(device)
    if not torch.compiler.is_compiling():
        check_tensor(mask)
    return mask.to(device) != 0


def check_tensor(mask: Tensor) -> None:
    """Check that a mask holds valid numbers only; for some dtypes the host waits for the device.

    Raises:
        ValueError: it holds another number.
    """
    if count_misread(mask):
        checked_mask(as_host_array(mask))


def count_misread(mask: Tensor) -> Tensor | int:
    """How many numbers of a mask are neither valid nor masked, on its device; 0 if none can be."""
    if mask.is_floating_point():
        return ((mask != 0) & (mask != 1)).sum()
    return (mask < 0).sum() if mask.dtype.is_signed else 0


def as_host_array(valid: Tensor) -> Any:
    """A mask as an array of NumPy's, which has no bfloat16."""
    return (valid.double() if valid.is_floating_point() else valid).numpy(force=True)


def _tensor_of(mask: Mask) -> Any:
    return torch.from_numpy(np.array(mask))  # from a GPU too


def outside_graph(function: Any) -> Any:
    """`function`, which torch.compile cannot look into, for a call outside the compiled graph.

    As a decorator, torch.compiler.disable would import the compiler with this module: 2 s.
    """
    return partial(_outside, function) if torch.compiler.is_compiling() else function


def _outside(function: Any, *arguments: Any) -> Any:
    return torch.compiler.disable(function)(*arguments)


# For the message with fullgraph=True; without them torch breaks the graph at the next call.
_outside._torchdynamo_disable = True  # type: ignore[attr-defined]  # torch reads it
_outside._torchdynamo_disable_msg = (  # type: ignore[attr-defined]  # torch reads it
    "with fullgraph=True the input and the mask of fastmask.torch's modules must be plain tensors: "
    "give torch.from_numpy(numpy.array(mask)) in place of a fastmask.Mask"
)
