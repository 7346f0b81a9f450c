"""The backend of CPU tensors: the host's, which sees their memory as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .._typing import Array
from ..backends.base import KernelInput, PlannedMask
from ..backends.cell import KernelName
from ..backends.host import Host
from ..backends.plan import Plan
from ..backends.recurrent import pack
from ..backends.table import kernels
from . import _interop
from ._cells import TorchCell, Weights
from ._parts import Part, parts_of
from ._passes import Pass, copies_to_train, run_by_table
from ._training import pack_all, run_by_address


class _CPU(Host):
    """See `TensorBackend`."""

    sees_arrays = False

    def views(self, *tensors: Tensor) -> Sequence[Array]:
        return list(map(self.view, tensors))

    def view(self, tensor: Tensor) -> Array:
        array: Array = tensor.contiguous().numpy(force=True)
        return array

    def weights(self, weights: Weights) -> list[Array]:
        kernel, recurrent_kernel, *others = [weight.numpy() for weight in weights]
        return [kernel.T, recurrent_kernel.T, *others]

    def run(
        self, kernel: KernelName, outputs: Sequence[Array], inputs: Sequence[KernelInput]
    ) -> None:
        _interop.run(kernel, *outputs, *inputs)

    def plan_of(
        self,
        mask: PlannedMask | None,
        batch: int,
        time: int,
        device: torch.device,
        given: object = None,
    ) -> Plan:
        return self.plan(mask, batch, time)

    def parts(self, plan: Plan, time: int, step_bytes: int) -> list[Part]:
        return parts_of(plan, time, step_bytes)

    def chosen(self) -> Callable[[], AbstractContextManager[Any]]:
        """See `TensorBackend`; there is nothing to choose."""
        return nullcontext

    def share(self, tensors: Sequence[Array]) -> Callable[[], Sequence[Array]]:
        return lambda: tensors

    def put_half(self, out: Tensor, half: Tensor, direction: int) -> None:
        _half(out, direction)[:] = half.numpy()[:, :: -1 if direction else 1]

    def half_of(self, dout: Tensor, direction: int) -> Tensor:
        half = _half(dout.resolve_neg(), direction)[:, :: -1 if direction else 1]
        return torch.from_numpy(half.copy())  # of one step, it may count as contiguous as it is

    def packed_to_train(
        self, cell: TorchCell, weights: Sequence[Sequence[Tensor]]
    ) -> tuple[list[Tensor], list[Any]]:
        """See `TensorBackend`; packed for backward, too, if the kernels can."""
        if hasattr(kernels(), "training_of"):
            packs, packed = pack_all(cell, weights)
            return [packs], packed
        return copies_to_train(cell, weights, partial(self._pack, cell))

    def _pack(self, cell: TorchCell, weights: Weights) -> Array:
        return pack(self, cell, self.weights(weights), cell.settings)

    def run_part(self, this: Pass, part: Part, found: Weights) -> None:
        if len(this.weights) == 1:
            run_by_address(this, part, found)
        else:
            run_by_table(self, this, part, found)


CPU = _CPU()


def _half(out: Tensor, direction: int) -> Array:
    """One direction's columns of `out`, of two."""
    array: Array = out.detach().numpy()
    units = array.shape[2] // 2
    half: Array = array[:, :, direction * units : (direction + 1) * units]
    return half
