"""The kernels for CPU tensors, whose memory they see as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._typing import Array
from ..backends.dispatch import kernels
from ..masks.mask import plan_for
from ..masks.plan import Plan
from ._cells import Cell, Weights
from ._lent import run
from ._parts import Part, parts_of


class _CPU:
    """See `Column`."""

    def run(self, kernel: str, outputs: Sequence[Array], *inputs: Any) -> None:
        """See `Column`."""
        run(kernel, *outputs, *inputs)

    def view(self, tensor: Tensor) -> Array:
        """See `Column`."""
        array: Array = tensor.detach().resolve_neg().contiguous().numpy()
        return array

    def weights(self, weights: Weights) -> list[Array]:
        """See `Column`."""
        kernel, recurrent_kernel, bias = [weight.numpy() for weight in weights]
        return [kernel.T, recurrent_kernel.T, bias]

    def pack(self, cell: Cell, weights: Weights) -> Array:
        """See `Column`."""
        column = kernels()
        arrays = self.weights(weights)
        kernel, recurrent_kernel, _ = arrays
        size = getattr(column, f"{cell.name}_packed_size")(
            len(kernel), len(recurrent_kernel), kernel.dtype
        )
        packed: Array = column.aligned_empty(size, kernel.dtype)
        getattr(column, f"{cell.name}_pack").unchecked(packed, *arrays, *cell.flags)
        return packed

    def plan(
        self,
        mask: Any,
        batch: int,
        time: int,
        device: torch.device,  # noqa: ARG002 - there is one
        given: Any = None,  # noqa: ARG002 - a `Mask` keeps its plan itself
    ) -> Plan:
        """See `Column`."""
        return plan_for(mask, batch, time)

    def parts(self, plan: Plan, time: int, step_bytes: int) -> list[Part]:
        """See `Column`."""
        return parts_of(plan, time, step_bytes)

    def chosen(self) -> Callable[[], AbstractContextManager[Any]]:
        """See `Column`; there is nothing to choose."""
        return nullcontext

    def share(self, tensors: Sequence[Any]) -> Callable[[], Sequence[Any]]:
        """See `Column`."""
        return lambda: tensors

    def put_half(self, out: Tensor, half: Tensor, direction: int) -> None:
        """See `Column`."""
        _half(out, direction)[:] = half.numpy()[:, :: -1 if direction else 1]

    def half_of(self, dout: Tensor, direction: int) -> Array:
        """See `Column`."""
        return np.ascontiguousarray(_half(dout, direction)[:, :: -1 if direction else 1])


CPU = _CPU()


def _half(out: Tensor, direction: int) -> Array:
    """One direction's columns of `out`, of two."""
    array: Array = out.detach().numpy()
    units = array.shape[2] // 2
    half: Array = array[:, :, direction * units : (direction + 1) * units]
    return half
