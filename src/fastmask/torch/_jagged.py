"""Jagged nested tensors: from torch's values and offsets to rows of padded ones and back.

What comes back has the very offsets of what came in, so that torch's operators combine both. The
padding is memory that nobody writes or reads, as with packed sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ..masks.mask import Mask
from . import _arguments
from ._backend import backend_of
from ._packed import Rows, packed, spread
from ._streams import Stamp, countable


class _Known(NamedTuple):
    """What is kept with the offsets, which all jagged tensors of a model share."""

    stamps: list[Any]  # of offsets, and of lengths if there are any
    values: int  # how many there are
    mask: Mask  # of the padded rows
    arrays: Callable[[], Sequence[Any]]  # positions among them, and of the steps among the values


_known: Any = WeakIdKeyDictionary()


def forward_jagged(module: Any, input: Tensor, hx: Any, reason: str) -> tuple[Tensor, Any]:
    """What a module returns for a jagged tensor; `reason` tells why kernels cannot compute it.

    Raises:
        ValueError: it is nested in another way, or its offsets do not fit its values.
    """
    _check(input)
    values = input.values()
    _arguments.check_input(module, values, module._first_weight().dtype)
    known = _known_of(input, values)
    positions, *source = known.arrays()
    (batch, time), device = known.mask.shape, values.device
    rows = Rows(positions, backend_of(device).plan_of(known.mask, batch, time, device), batch, time)
    x = spread(values.index_select(0, source[0]) if source else values, rows)
    if reason:
        turned = not module.batch_first
        x = x.transpose(0, 1) if turned else x
        out, hx = module._without_kernels(reason, x, hx, known.mask)
        out = out.transpose(0, 1) if turned else out
    else:
        states = _arguments.states(module, hx, values, batch)
        out, last = module._run(x, states, rows.plan)
        hx = module._as_hx(last)
    steps = packed(out, rows)
    if source:  # what is no row's is zero
        steps = steps.new_zeros(len(values), steps.shape[1]).index_copy(0, source[0], steps)
    return torch.nested.nested_tensor_from_jagged(steps, input.offsets(), input.lengths()), hx


def _check(input: Tensor) -> None:
    if input.layout != torch.jagged:
        raise ValueError(
            f"input must be nested with layout=torch.jagged, not {input.layout}: make it so by "
            "torch.nested.nested_tensor(..., layout=torch.jagged)"
        )
    if input.dim() != 3 or input._ragged_idx != 1:
        raise ValueError(
            "input must be a jagged tensor of (batch, ragged steps, features), not of shape "
            f"{tuple(input.shape)}"
        )


def _known_of(input: Tensor, values: Tensor) -> _Known:
    offsets, lengths = input.offsets(), input.lengths()
    key = offsets if lengths is None else lengths
    told = [offsets] if lengths is None else [offsets, lengths]
    known: _Known | None = _known.get(key)
    if known is None or known.values != len(values) or not _all_fit(known.stamps, told):
        stamps = list(map(_stamp, told))  # first: of what changes meanwhile nothing is kept
        known = _Known(stamps, len(values), *_found(told, len(values), values.device))
        if all(stamp is not None for stamp in stamps):
            _known[key] = known
    return known


def _found(
    told: list[Tensor], count: int, device: torch.device
) -> tuple[Mask, Callable[[], Sequence[Any]]]:
    """The mask of the padded rows, and the positions of steps in them and among the values."""
    offsets, *given = [one.detach().cpu().numpy().astype(np.int64) for one in told]
    starts, room = offsets[:-1], np.diff(offsets)
    lengths = given[0] if given else room
    if len(starts) and (offsets[0] < 0 or offsets[-1] > count or room.min() < 0):
        raise ValueError(
            f"offsets of input must never fall and end within its {count} values, "
            f"not {offsets.tolist()!r:.80}"
        )
    if (lengths < 0).any() or (lengths > room).any():
        raise ValueError(
            f"lengths of input must fit its offsets {offsets.tolist()!r:.80}, "
            f"not {lengths.tolist()!r:.80}"
        )
    time = int(lengths.max(initial=0))
    row = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    arrays = [row * time + step]
    if len(row) < count:
        arrays.append(starts[row] + step)
    tensors = [torch.from_numpy(array).to(device) for array in arrays]
    return Mask.from_lengths(lengths, time), backend_of(device).share(tensors)


def _stamp(tensor: Tensor) -> Any:
    """By what a later call sees that a tensor is as it was: on the host it looks."""
    if tensor.device.type == "cpu":
        return tensor.detach().clone()
    return Stamp(tensor) if countable(tensor) else None


def _all_fit(stamps: list[Any], tensors: list[Tensor]) -> bool:
    return len(stamps) == len(tensors) and all(
        stamp.fits(tensor) if isinstance(stamp, Stamp) else torch.equal(stamp, tensor)
        for stamp, tensor in zip(stamps, tensors, strict=True)
    )
