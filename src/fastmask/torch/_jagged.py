"""Jagged nested tensors: torch's values and offsets, to kernels and back.

A result has the very offsets of its input, so that torch's operators can combine both. On the CPU
the kernels read the values in place. On other devices, and if gates are recomputed for one part
of the rows after another, the values are spread over padded rows; the padding is neither written
nor read, as with packed sequences.
"""

from __future__ import annotations

import logging
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .._checks import shown
from .._typing import INT64, Ints
from ..backends import rows
from ..masks.mask import Mask
from . import _arguments
from ._backend import backend_of
from ._packed import Rows, packed, spread
from ._streams import Stamp, countable


class _Known:
    """A cache for offsets, which all jagged tensors of a model share.

    Args:
        told: offsets, and lengths if there are any.
        count: number of values.
        device: device of the values.

    Attributes:
        source: positions of the rows' steps among the values; None if rows have all of them.
        rows: where each row begins among these steps.
    """

    def __init__(self, told: list[Tensor], count: int, device: torch.device) -> None:
        self.stamps = list(map(_stamp, told))  # first, so that a change meanwhile is noticed
        self.count, self._device = count, device
        starts, lengths = _starts_and_lengths(told, count)
        self.rows = rows.Rows(rows.offsets_of(lengths))
        self.source = None
        if self.rows.count < count:
            row, step = self.rows.places
            self.source = torch.from_numpy(starts[row] + step).to(device)

    @cached_property
    def mask(self) -> Mask:
        """The mask of the padded rows."""
        return Mask.from_lengths(self.rows.lengths, int(self.rows.lengths.max(initial=0)))

    @cached_property
    def _positions(self) -> Any:
        row, step = self.rows.places
        positions = torch.from_numpy(row * self.mask.shape[1] + step).to(self._device)
        return backend_of(self._device).share([positions])

    def padded(self) -> Rows:
        """The positions of the steps among padded rows."""
        (batch, time), device = self.mask.shape, self._device
        plan = backend_of(device).plan_of(self.mask, batch, time, device)
        (positions,) = self._positions()
        return Rows(positions, plan, batch, time)

    def fits(self, told: list[Tensor], count: int) -> bool:
        """Whether the offsets have not changed."""
        return (
            (self.count, len(self.stamps)) == (count, len(told))
            and None not in self.stamps
            and all(map(_fits, self.stamps, told))
        )


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
    source = known.source
    steps = values if source is None else values.index_select(0, source)
    if reason:
        steps, hx = _without_kernels(module, known, steps, hx, reason)
    else:
        states = _arguments.states(module, hx, values, len(known.rows))
        steps, last = _by_kernels(module, known, steps, states)
        hx = module._as_hx(last)
    if source is not None:  # values outside all rows are zero
        steps = steps.new_zeros(len(values), steps.shape[1]).index_copy(0, source, steps)
    lengths = known.rows.lengths
    _without_a_remark()
    nested = torch.nested.nested_tensor_from_jagged(
        *(steps, input.offsets(), input.lengths()),
        min_seqlen=int(lengths.min(initial=lengths.max(initial=0))),
        max_seqlen=int(lengths.max(initial=0)),  # to which torch pads it
    )
    return nested, hx


@cache
def _without_a_remark() -> None:
    """Let torch log without a handler what it logs when it first makes a jagged tensor.

    From PyTorch 2.9 on, that is a warning about a function that only torch itself calls there.
    """
    logger = logging.getLogger("torch.fx._symbolic_trace")
    logger.addFilter(_is_none)
    try:
        torch.nested.nested_tensor_from_jagged(torch.zeros(1, 1), torch.tensor([0, 1]))
    finally:
        logger.removeFilter(_is_none)


def _is_none(record: logging.LogRecord) -> bool:
    return "is_fx_tracing" not in record.getMessage()


def _by_kernels(
    module: Any, known: _Known, steps: Tensor, states: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Outputs of the steps (P, F), and last states."""
    if steps.device.type == "cpu" and not module.recompute:
        out, last = module._run(steps.unsqueeze(0), states, known.rows.plan)
        return out.squeeze(0), last
    padded = known.padded()
    out, last = module._run(spread(steps, padded), states, padded.plan)
    return packed(out, padded), last


def _without_kernels(
    module: Any, known: _Known, steps: Tensor, hx: Any, reason: str
) -> tuple[Tensor, Any]:
    padded, turned = known.padded(), not module.batch_first
    x = spread(steps, padded)
    x = x.transpose(0, 1) if turned else x
    out, hx = module._without_kernels(reason, x, hx, known.mask)
    return packed(out.transpose(0, 1) if turned else out, padded), hx


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
    if known is None or not known.fits(told, len(values)):
        known = _known[key] = _Known(told, len(values), values.device)
    return known


def _starts_and_lengths(told: list[Tensor], count: int) -> tuple[Ints, Ints]:
    """Where rows begin among `count` values, and how many steps they have."""
    offsets, *given = [one.detach().cpu().numpy().astype(INT64) for one in told]
    room: Ints = np.diff(offsets)
    lengths = given[0] if given else room
    if len(room) and (offsets[0] < 0 or offsets[-1] > count or room.min() < 0):
        raise ValueError(
            f"offsets of input must never fall and end within its {count} values, "
            f"not {shown(offsets.tolist())}"
        )
    if (lengths < 0).any() or (lengths > room).any():
        raise ValueError(
            f"lengths of input must fit its offsets {shown(offsets.tolist())}, "
            f"not {shown(lengths.tolist())}"
        )
    return offsets[:-1], lengths


def _stamp(tensor: Tensor) -> Any:
    """What tells a later call that a tensor has not changed: on the host, a copy."""
    if tensor.device.type == "cpu":
        return tensor.detach().clone()
    return Stamp(tensor) if countable(tensor) else None


def _fits(stamp: Any, tensor: Tensor) -> bool:
    return stamp.fits(tensor) if isinstance(stamp, Stamp) else torch.equal(stamp, tensor)
