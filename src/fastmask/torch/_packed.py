"""Packed sequences: from torch's order of steps, time first, to padded rows and back.

The padding is neither written nor read: kernels visit the valid steps only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils.weak import WeakIdKeyDictionary

from .._checks import shown
from ..backends.plan import Plan
from ..masks.mask import Mask
from ._backend import backend_of


class Rows(NamedTuple):
    """The positions of a packed sequence's steps among padded rows.

    positions: (P,) int64, b * T + t of each packed step; plan: of the padded rows (B, T).
    """

    positions: Tensor
    plan: Plan
    batch: int
    time: int


class _Known(NamedTuple):
    """A cache for a packed sequence's `batch_sizes`, which all layers of a model share."""

    sizes: Tensor  # a copy, which shows changes
    device: torch.device
    arrays: Callable[[], Sequence[Any]]  # positions, and the arrays of the plan
    batch: int
    time: int


_known: Any = WeakIdKeyDictionary()


def rows_of(batch_sizes: Tensor, device: torch.device) -> Rows:
    """The rows of a packed sequence on a device, from the number of rows at each step.

    Raises:
        ValueError: there are none, or more at a step than at the one before.
    """
    known = _known.get(batch_sizes)
    if known is None or known.device != device or not torch.equal(known.sizes, batch_sizes):
        sizes = batch_sizes.detach().clone()  # first, so that a change meanwhile is noticed
        positions, plan, batch, time = _rows_of(sizes, device)
        shared = backend_of(device).share([positions, *plan])
        known = _known[batch_sizes] = _Known(sizes, device, shared, batch, time)
    positions, *arrays = known.arrays()
    return Rows(positions, Plan(*arrays), known.batch, known.time)


def _rows_of(batch_sizes: Tensor, device: torch.device) -> Rows:
    sizes = batch_sizes.numpy()
    if not len(sizes) or sizes[-1] < 1 or (np.diff(sizes) > 0).any():
        raise ValueError(
            f"batch_sizes of input must be at least 1 and never rise, not {shown(sizes.tolist())}"
        )
    batch, time = int(sizes[0]), len(sizes)
    step = np.repeat(np.arange(time), sizes)
    row = np.arange(len(step)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    mask = Mask.from_lengths(np.bincount(row, minlength=batch), time)
    positions = torch.from_numpy(row * time + step).to(device)
    plan = backend_of(device).plan_of(mask, batch, time, device)
    return Rows(positions, plan, batch, time)


def padded(data: Tensor, rows: Rows) -> Tensor:
    """Packed data (P, F) as rows (B, T, F); the padding is uninitialized.

    Raises:
        ValueError: there are more or fewer steps than in the rows.
    """
    if len(data) != len(rows.positions):  # torch packs lengths that are longer than the data
        raise ValueError(
            f"input has {len(data)} packed steps, but its batch_sizes sum to {len(rows.positions)}"
        )
    return spread(data, rows)


def spread(data: Tensor, rows: Rows) -> Tensor:
    """Steps (P, F) as rows (B, T, F); the padding is uninitialized."""
    flat: Tensor = _Spread.apply(data, rows.positions, rows.batch * rows.time)
    return flat.view(rows.batch, rows.time, data.shape[1])


def packed(out: Tensor, rows: Rows) -> Tensor:
    """The steps (P, F) of rows (B, T, F), such as packed data."""
    collected: Tensor = _Collect.apply(out.reshape(-1, out.shape[2]), rows.positions)
    return collected


class _Spread(Function):
    """Rows of a matrix at their positions in a longer one, whose other rows are uninitialized."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, positions: Tensor, size: int) -> Tensor:
        ctx.positions = positions
        return data.new_empty(size, data.shape[1]).index_copy_(0, positions, data)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, ctx.positions), None, None


class _Collect(Function):
    """The rows of a matrix at some positions, each at most once.

    Like index_select, but its gradient copies rows instead of adding one after the other.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, positions: Tensor) -> Tensor:
        ctx.positions, ctx.size = positions, len(matrix)
        return matrix.index_select(0, positions)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        zeros = grad.new_zeros(ctx.size, grad.shape[1])
        return zeros.index_copy_(0, ctx.positions, grad), None
