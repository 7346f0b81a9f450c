"""Which kernels compute on a tensor, and how they see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from ..backends.base import Backend
from ..backends.plan import Plan
from ..backends.recurrent import pack
from ..masks.mask import Mask
from . import _device
from ._cells import TorchCell, Weights, cell_of
from ._cpu import CPU
from ._parts import Part
from ._passes import Pass

K = TypeVar("K")


class TensorBackend(Backend[K], Protocol[K]):
    """The backend of the tensors of one type of device.

    Only a backend looks into packed weights and plans, except for the number of a plan's steps.
    Their arrays are NumPy's on the CPU and tensors on other devices.
    """

    def view(self, tensor: Tensor) -> K:
        """A tensor as kernels see it: its own memory if it is contiguous, else a copy.

        It is indexed like the tensor, but faster.
        """

    def weights(self, weights: Weights) -> Sequence[K]:
        """The weights, or their gradients, transposed as kernels see them."""

    def plan_of(
        self,
        mask: Mask | Tensor | None,
        batch: int,
        time: int,
        device: torch.device,
        given: object = None,
    ) -> Plan:
        """The plan of a mask.

        Args:
            mask: (B, T), a `Mask`, or a tensor on a device; None if all steps are valid.
            batch: B.
            time: T.
            device: where the plan is wanted.
            given: the mask as the user passed it; the plan is kept with it.
        """

    def parts(self, plan: Plan, time: int, step_bytes: int) -> list[Part]:
        """The batch in parts, for a backward pass with little memory.

        Args:
            plan: which steps are valid.
            time: T.
            step_bytes: bytes that backward recomputes for each step.
        """

    def chosen(self) -> Callable[[], AbstractContextManager[Any]]:
        """A function that returns a context with the caller's settings, to be entered later.

        torch runs backward in threads of its own, which do not inherit the caller's contexts.
        """

    def share(self, tensors: Sequence[K]) -> Callable[[], Sequence[K]]:
        """A function that returns the tensors, also on another stream."""

    def put_half(self, out: Tensor, half: Tensor, direction: int) -> None:
        """Write one direction's output, in the order of processing, into its columns of `out`."""

    def half_of(self, dout: Tensor, direction: int) -> Tensor:
        """One direction's columns of `dout`, in the order of processing, contiguous."""

    def packed_to_train(
        self, cell: TorchCell, weights: Sequence[Sequence[Tensor]]
    ) -> tuple[list[Tensor], list[Any]]:
        """The weights of each direction for a step of training.

        Returns:
            Copies for `run_part`, which later changes do not affect; and, for each direction, the
            packed weights that the forward kernels read.
        """

    def run_part(self, this: Pass, part: Part, found: Weights) -> None:
        """Go backward through a part of a batch, and write the gradients of its weights."""


def backend_of(device: torch.device) -> TensorBackend[Any]:
    """The backend for tensors on `device`, if `why_not` returns an empty string."""
    if device.type == _device.CUDA:
        from ._cuda import Cuda

        return Cuda.only()
    return CPU


def packed(cell: TorchCell, weights: Weights) -> Any:
    """The weights in the layout that the forward kernels read."""
    backend = backend_of(weights[0].device)
    return pack(backend, cell, backend.weights(weights), cell.settings)


def why_not(device: torch.device, mode: str) -> str:
    """Why no kernels can compute a cell on `device`; empty if some can."""
    if device.type == _device.CUDA:
        from ._cuda import why_not_on

        return why_not_on(device, cell_of(mode))
    if device.type == "cpu":
        return ""
    return f"kernels compute on the CPU and on CUDA devices, not on {device}"


# What torch.compiler.assume_constant_result does. As a decorator that would import the compiler
# with this module, which takes 2 s.
why_not._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch reads it
